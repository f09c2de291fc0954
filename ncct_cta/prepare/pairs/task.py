"""A pair to prepare: its scans, the settings that shape its files, and where these lie."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ...common.errors import InputError
from ...common.keys import CTA, LUNG, NCCT, VESSEL
from .pair_list import ScanSource

# Raise when the same settings give other files or scores: cases are then prepared anew.
PREPARATION_VERSION = 4
QC_FOLDER = "qc"
IMAGES = (NCCT, CTA, LUNG, VESSEL)


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
class Task:
    """A pair to prepare.

    Args:
        case: its name, used for the files.
        patient: whom it belongs to.
        ncct: the scan without contrast.
        cta: the scan with contrast.
        output: the folder of all cases.
        settings: how to prepare it.
    """

    case: str
    patient: str
    ncct: ScanSource
    cta: ScanSource
    output: Path
    settings: PreparationSettings

    @property
    def record(self) -> Path:
        """The file that marks the case as done; it is written last."""
        return self.output / QC_FOLDER / f"{self.case}.json"

    @property
    def picture(self) -> Path:
        """The picture for quality control."""
        return self.output / QC_FOLDER / f"{self.case}.png"

    def image(self, kind: str) -> Path:
        """The NIfTI file of ncct, cta, lung or vessel."""
        return self.output / f"{self.case}_{kind}.nii.gz"

    @property
    def partial(self) -> Path:
        """The folder that the files are written to before they are renamed."""
        return self.output / f".{self.case}.partial"

    @property
    def files(self) -> list[Path]:
        """All files written, the record last."""
        return [*(self.image(kind) for kind in IMAGES), self.picture, self.record]

    def digest(self) -> str:
        """Return a digest of the settings and of the sources' names, sizes and times."""
        content = [PREPARATION_VERSION, self.case, self.patient, asdict(self.settings)]
        content += [source.file_states() for source in (self.ncct, self.cta)]
        return hashlib.blake2b(json.dumps(content).encode(), digest_size=16).hexdigest()
