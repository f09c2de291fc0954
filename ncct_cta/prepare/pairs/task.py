"""A pair to prepare: its scans, the settings that shape its files, and where these lie."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from ...common.errors import InputError
from ...common.keys import CTA, LUNG, NCCT, VESSEL
from ..case_task import CaseTask
from ..scan_source import ScanSource

# Raise when the same settings give other files or scores: cases are then prepared anew.
PREPARATION_VERSION = 4


@dataclass(frozen=True)
class PreparationSettings:
    """The settings that determine a case's files.

    Args:
        deformable: follow the rigid registration by a deformable one.
        keep_grid: keep the NCCT's whole grid; otherwise it is cropped to the common field of view.
        spacing: resample to this voxel size in mm (right-left, front-back, feet-head); None: the NCCT's own.
        seed: seed of the registration's samples.
    """

    deformable: bool = True
    keep_grid: bool = False
    spacing: tuple[float, float, float] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.keep_grid and self.spacing is not None:
            raise InputError(
                "both --keep-grid and --spacing are given; the NCCT's own grid has its own spacing: give one"
            )
        if self.spacing is not None and not all(0.1 <= mm <= 20 for mm in self.spacing):
            raise InputError(f"--spacing {' '.join(f'{mm:g}' for mm in self.spacing)}: expected 0.1 to 20 mm")
        if self.seed < 0:
            raise InputError(f"--seed {self.seed}: it must not be negative")


@dataclass(frozen=True)
class Task(CaseTask):
    """A pair to prepare.

    Args:
        ncct: the scan without contrast.
        cta: the scan with contrast.
    """

    kinds = (NCCT, CTA, LUNG, VESSEL)

    settings: PreparationSettings
    ncct: ScanSource
    cta: ScanSource

    def digest(self) -> str:
        """Return a digest of the settings and of the sources' names, sizes and times."""
        content = [PREPARATION_VERSION, self.case, self.patient, asdict(self.settings)]
        content += [source.file_states() for source in (self.ncct, self.cta)]
        return hashlib.blake2b(json.dumps(content).encode(), digest_size=16).hexdigest()
