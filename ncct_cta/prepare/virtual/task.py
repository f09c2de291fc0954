"""A contrast CT to make a virtual pair of: its scan, the settings that shape its files, and where these lie."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ...common.keys import CTA, IGNORE, LUNG, NCCT, VESSEL
from ..case_task import CaseTask
from ..scan_source import ScanSource
from .variety import VirtualSettings

# Raise when the same settings give other files or scores: cases are then prepared anew.
VIRTUAL_VERSION = 4


@dataclass(frozen=True)
class VirtualTask(CaseTask):
    """A virtual pair to make.

    Args:
        cta: the contrast CT.
        mask: the user's own blood mask, on its grid.
    """

    kinds = (NCCT, CTA, LUNG, VESSEL, IGNORE)

    settings: VirtualSettings
    cta: ScanSource
    mask: Path | None = None

    @property
    def files(self) -> list[Path]:
        """All files written, the record last; where the CTA may be displaced, its true field is among them."""
        return [*([self.field] if self.settings.breathing_mm[1] > 0 else []), *super().files]

    @property
    def field(self) -> Path:
        """The displacement of a CTA that breathing moved."""
        return self.image("displacement")

    def digest(self) -> str:
        """Return a digest of the settings and of the sources' names, sizes and times."""
        content = [VIRTUAL_VERSION, self.case, self.patient, asdict(self.settings), self.cta.file_states()]
        if self.mask is not None:
            content.append(ScanSource(self.mask, None, "mask").file_states())
        return hashlib.blake2b(json.dumps(content).encode(), digest_size=16).hexdigest()
