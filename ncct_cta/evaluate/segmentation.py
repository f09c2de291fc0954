"""Run the user's own segmentation on every CTA, real and synthetic: a command that reads and writes NIfTI files."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..common.errors import InputError
from ..common.files import written_whole
from ..common.names import shortened
from ..common.progress import progress_bar
from ..data import Case
from .failures import Failure, collected
from .provenance import Provenance
from .results import Method

INPUT, OUTPUT = "{input}", "{output}"
MOST_SECONDS = 600.0  # for one volume
CTA_FOLDER = "cta"


@dataclass(frozen=True)
class Segmentation:
    """A command, as a list of words in which ``{input}`` and ``{output}`` stand for whole paths."""

    words: tuple[str, ...]

    @classmethod
    def parse(cls, command: str) -> Segmentation:
        """Split a command as a shell would; no shell runs it.

        Raises:
            InputError: if it can't be split, lacks a placeholder, or there is no such program.
        """
        try:
            words = tuple(shlex.split(command))
        except ValueError as error:
            raise InputError(f"segment {shortened(command)!r}: {error}; close the quotes") from error
        lacking = [place for place in (INPUT, OUTPUT) if place not in words]
        if lacking:
            raise InputError(
                f"segment {shortened(command)!r}: expected {' and '.join(lacking)} as a word of its own, as in "
                f"'my_program {INPUT} {OUTPUT}'"
            )
        if shutil.which(words[0]) is None:
            raise InputError(f"segment: there is no program {shortened(words[0])!r}; give its path")
        return cls(words)

    @property
    def files(self) -> list[Path]:
        """The program, and what else the command names by a file: a script or weights, which may change."""
        program, *others = self.words
        named = [shutil.which(program) or program, *others]
        return [Path(word) for word in named if os.path.isfile(word)]

    def run(self, source: Path, target: Path) -> None:
        """Segment one file.

        Raises:
            InputError: if the command fails, takes longer than ``MOST_SECONDS``, or writes nothing.
        """
        with written_whole(target, ".nii.gz") as temporary:
            places = {INPUT: str(source.resolve()), OUTPUT: str(temporary.resolve())}
            status, errors = _run([places.get(word, word) for word in self.words])
            if status != 0:
                last = (errors.strip().splitlines() or ["it says nothing"])[-1]
                raise InputError(f"the segmentation of {source} failed with status {status}: {shortened(last)}")
            if not temporary.is_file():
                raise InputError(f"the segmentation of {source} wrote nothing to {OUTPUT}; look at the command")


def segment_all(
    segmentation: Segmentation,
    cases: Sequence[Case],
    methods: Sequence[Method],
    folder: Path,
    failures: MutableMapping[str, Failure],
) -> list[Method]:
    """Segment each case's CTA and predictions; up-to-date files are used again.

    Args:
        segmentation: the command.
        cases: with CTA.
        methods: each with a prediction of every case, in HU.
        folder: where ``cta`` and a folder for each method get a ``{case}.nii.gz``.
        failures: gets the cases that can't be segmented.

    Returns:
        the methods with their segments.

    Raises:
        InputError: if a method's predictions aren't in HU.
    """
    scaled = [method.name for method in methods if method.window is not None]
    if scaled:
        raise InputError(f"{scaled[0]}: a segmentation needs HU; leave out --pred-window, or --segment")
    truths = {case.name: folder / CTA_FOLDER / f"{case.name}.nii.gz" for case in cases}
    # Numbered: a method may be called as the CTA's folder is.
    folders = {method.name: folder / f"{number}_{method.name}" for number, method in enumerate(methods)}
    used = segmentation.files
    provenances = {place: Provenance(place) for place in (folder / CTA_FOLDER, *folders.values())}
    with progress_bar(cases, desc="segment", unit="case", leave=False) as bar:
        for case in bar:
            with collected(failures, case.name):
                for source, target in (
                    (case.cta, truths[case.name]),
                    *((m.predictions[case.name], folders[m.name] / f"{case.name}.nii.gz") for m in methods),
                ):
                    provenance = provenances[target.parent]
                    if source is None or provenance.is_current(target, [source, *used], command=repr(segmentation)):
                        continue
                    segmentation.run(source, target)
                    provenance.add(target, [source, *used], command=repr(segmentation))
    return [
        replace(m, segments={name: (folders[m.name] / f"{name}.nii.gz", true) for name, true in truths.items()})
        for m in methods
    ]


def _run(words: Sequence[str]) -> tuple[int, str]:
    """Exit status and messages. Its session is its own, so that it ends with all that it has started."""
    try:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True, errors="replace", start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise InputError(f"segment: {shortened(words[0])} can't be run ({error.strerror or error})") from error
    try:
        return _wait(process)
    except BaseException:
        _end(process)
        process.communicate()
        raise


def _end(process: subprocess.Popen[str]) -> None:
    """Kill a process with its session; on Windows, which has no sessions, the process alone."""
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def _wait(process: subprocess.Popen[str]) -> tuple[int, str]:
    try:
        errors = process.communicate(timeout=MOST_SECONDS)[1]
    except subprocess.TimeoutExpired as expired:
        raise InputError(f"segment: it took longer than {MOST_SECONDS:g} s for a volume and was stopped") from expired
    return process.returncode, errors
