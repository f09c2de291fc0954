"""The scans of an inference, whatever they come as."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from ..data import Case
from ..dicom.pseudonyms import KEY_FILE
from .dicom_cases import holds_dicom_only, read_dicom_inputs
from .scan_files import read_inputs


class InputCases:
    """The scans of an inference; the source is read when they are first iterated over.

    Args:
        source: a NIfTI file, a folder of them, a case list, or a folder of DICOM files.
        split: of a case list, or of the one in a folder; empty: testing, or all when there is no testing case.
        series: of a DICOM folder: the pseudonyms of those wanted, or ``all``; empty: the only one.
        key_file: of a DICOM folder: where the key table lies or is made (``read_dicom_inputs``).
    """

    def __init__(self, source: str, split: str = "", *, series: Sequence[str] = (), key_file: str = KEY_FILE) -> None:
        self.source = source
        self.split = split
        self.series = series
        self.key_file = key_file

    def __iter__(self) -> Iterator[Case]:
        """Give the cases with a progress bar over them.

        Raises:
            InputError: if there is nothing to synthesise.
        """
        if not self.split and (self.series or holds_dicom_only(Path(self.source))):
            cases = read_dicom_inputs(Path(self.source), Path(self.key_file), self.series)
        else:
            cases = read_inputs(self.source, split=self.split or None)
        return iter(tqdm(cases, desc="volumes", unit="volume", disable=len(cases) == 1))
