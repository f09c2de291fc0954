"""A case to prepare: where its files lie, and what tells that they are done."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

QC_FOLDER = "qc"


@dataclass(frozen=True)
class CaseTask:
    """A case to prepare; each way of preparation adds its sources and settings.

    Args:
        case: its name, used for the files.
        patient: whom it belongs to.
        output: the folder of all cases.
        settings: how to prepare it, a dataclass.
    """

    kinds: ClassVar[tuple[str, ...]]  # of the images written

    case: str
    patient: str
    output: Path
    settings: Any

    @property
    def record(self) -> Path:
        """The file that marks the case as done; it is written last."""
        return self.output / QC_FOLDER / f"{self.case}.json"

    @property
    def picture(self) -> Path:
        """The picture for quality control."""
        return self.output / QC_FOLDER / f"{self.case}.png"

    def image(self, kind: str) -> Path:
        """The NIfTI file of ncct, cta, lung, vessel or ignore."""
        return self.output / f"{self.case}_{kind}.nii.gz"

    @property
    def partial(self) -> Path:
        """The folder that the files are written to before they are renamed."""
        return self.output / f".{self.case}.partial"

    @property
    def files(self) -> list[Path]:
        """All files written, the record last."""
        return [*(self.image(kind) for kind in self.kinds), self.picture, self.record]

    def digest(self) -> str:
        """Return a digest of all that decides the files: settings, and the sources' names, sizes and times."""
        raise NotImplementedError
