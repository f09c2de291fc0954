"""The scans of an inference, whatever they come as."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ..common.progress import progress_bar
from ..data import Case
from ..dicom.pseudonyms import KEY_FILE
from .dicom_cases import holds_dicom_only, read_dicom_inputs
from .scan_files import read_inputs


class InputCases:
    """The scans to synthesise from; the source is read on iteration.

    Args:
        source: a NIfTI file, a folder of them, a case list, or a folder of DICOM files.
        split: split of a case list, or of the list in a folder; empty: testing, or all cases if none is for testing.
        series: for a DICOM folder, the pseudonyms of the series wanted, or ``all``; empty: the only series.
        key_file: for a DICOM folder, the key table; created if missing (``read_dicom_inputs``).
    """

    def __init__(self, source: str, split: str = "", *, series: Sequence[str] = (), key_file: str = KEY_FILE) -> None:
        self.source = source
        self.split = split
        self.series = series
        self.key_file = key_file

    def __iter__(self) -> Iterator[Case]:
        """Iterate over the cases with a progress bar; raises as ``read`` does."""
        cases = self.read()
        return iter(progress_bar(cases, desc="volumes", unit="volume", shown=len(cases) > 1))

    def read(self) -> list[Case]:
        """Find the cases.

        Raises:
            InputError: if there is nothing to synthesise.
        """
        if not self.split and (self.series or holds_dicom_only(Path(self.source))):
            return read_dicom_inputs(Path(self.source), Path(self.key_file), self.series)
        return read_inputs(self.source, split=self.split or None)
