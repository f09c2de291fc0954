"""The options of an inference: each one's name, type, default and meaning, declared once.

The command line of ``infer`` and the options of ``evaluate --run`` are made from these declarations; a test holds
``inference.yaml`` and ``evaluate.yaml`` to them. Nothing heavy is imported here: ``--help`` needs this module.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ..dicom.pseudonyms import KEY_FILE
from ..settings.declaration import Section

DICOM = "DICOM input"
TTA = 8
ENGINES = ("torch", "openvino")
MODELS = ("run_dir", "checkpoint", "model_file")


def option(
    default: Any,
    meaning: str,
    *,
    flag: str = "",
    metavar: str = "",
    choices: Sequence[str] | None = None,
    low: float | None = None,
    required: bool = False,
    group: str = "",
) -> Any:
    """Declare an option.

    Args:
        default: its value where none is given.
        meaning: the command line's help, and the comment in YAML.
        flag: on the command line; empty: ``--`` and the name.
        metavar: what the help calls a value; empty: the flag in capitals.
        choices: all that it may be.
        low: the least that it may be.
        required: whether the command line insists on it.
        group: the heading in the help that it stands under.
    """
    limits = {"choices": choices, "low": low, "high": None}
    shown = {"meaning": meaning, "flag": flag, "metavar": metavar, "required": required, "group": group}
    return dataclasses.field(default=default, metadata={**limits, **shown})


OptionsT = TypeVar("OptionsT", bound="RunningOptions")


@dataclass(frozen=True)
class RunningOptions(Section):
    """How a trained network runs: what ``infer`` and ``evaluate --run`` share."""

    device_name: str = option("auto", "cpu, cuda, cuda:1; auto: cuda if there is one", flag="--device")
    amp: str = option(
        "",
        "off, bf16, fp16, or auto: bf16 where the device computes in it, else off; empty: as trained",
        choices=("", "off", "bf16", "fp16", "auto"),
    )
    batch_size: int = option(0, "slices or patches a forward pass; 0: as trained", metavar="N", low=0)
    engine: str = option("torch", "torch, or openvino on a CPU that has it", choices=ENGINES)
    trust: bool = option(False, "also run a network or preprocessing that isn't this package's, which is code")

    @classmethod
    def name_in_errors(cls, key: str) -> str:
        """The option as the command line spells it."""
        return next((flag_of(field) for field in dataclasses.fields(cls) if field.name == key), key)


@dataclass(frozen=True)
class InferenceOptions(RunningOptions):
    """All that an inference is told, by the names of ``inference.yaml``."""

    input: str = option(
        "./input",
        "a NIfTI, NRRD or MHA file, a folder of them, a case list (datalist.json) or a DICOM folder",
        required=True,
    )
    output: str = option("./output", "the folder to write to", metavar="DIR", required=True)
    run_dir: tuple[str, ...] = option(
        (),
        "a run's folder: its settings and its best averaged weights; several: their mean",
        flag="--run",
        metavar="DIR",
    )
    checkpoint: tuple[str, ...] = option(
        (), "a checkpoint, with a run's folder or alone; several: their mean", metavar="FILE"
    )
    model_file: tuple[str, ...] = option(
        (),
        "a packed model, which is checked first; several: their mean; starter: the package's own, the default",
        flag="--model",
        metavar="FILE",
    )
    split: str = option("", "split of a case list or of a folder's; empty: testing, or all")
    overwrite: bool = option(False, "replace files that are there")
    save_intermediates: bool = option(
        False, "also write G's prediction and G2's input: {case}_coarse.nii.gz and {case}_intermediate.nii.gz"
    )
    tta: int = option(
        0,
        f"predictions to average, of the scan moved a little; 0: one, or {TTA} for --uncertainty of one model",
        metavar="N",
        low=0,
    )
    uncertainty: bool = option(False, "also write how far several predictions disagree, in HU: {case}_sd.nii.gz")
    debug: bool = option(False, "log shapes, ranges, timings and memory of every stage")
    dicom: bool = option(False, "also write a derived series: {case}_syncta_dicom", group=DICOM)
    series: tuple[str, ...] = option(
        (), "of a folder that holds several: their pseudonyms, or all", metavar="NAME", group=DICOM
    )
    key_file: str = option(
        "",
        f"the key table with the pseudonyms; empty: {KEY_FILE} in the output folder, made if missing",
        flag="--keys",
        metavar="FILE",
        group=DICOM,
    )

    @classmethod
    def check(cls: type[OptionsT], values: Mapping[str, Any]) -> tuple[OptionsT, list[str]]:
        """As a section does; one model needn't be a list, as YAML and MONAI's command line give it."""
        return super().check({key: _listed(value) if key in MODELS else value for key, value in values.items()})

    @property
    def predictions_per_model(self) -> int:
        """How many a model makes of a scan: with the movements of test-time augmentation several."""
        alone = len([*self.run_dir, *self.checkpoint, *self.model_file]) - bool(self.run_dir and self.checkpoint) == 1
        return max(self.tta or (TTA if self.uncertainty and alone else 1), 1)


def _listed(value: Any) -> Any:
    """One name as a list of it, an empty one as none; names are texts, even where YAML takes one for a number."""
    names = [value] if isinstance(value, str | int | None) and not isinstance(value, bool) else value
    if not isinstance(names, list | tuple):
        return names
    if all(name in (None, "", "None") for name in names):
        return []
    return [str(name) if type(name) is int else name for name in names]


def flag_of(field: dataclasses.Field) -> str:
    """An option as the command line spells it: ``batch_size`` is ``--batch-size``."""
    return field.metadata["flag"] or f"--{field.name.replace('_', '-')}"


def add_options(parser: argparse.ArgumentParser, options: type[RunningOptions], *, of: str = "") -> None:
    """Add options to a command line; the values stay words, which ``Section.parse`` turns into the options' types.

    Args:
        parser: of the command.
        options: their class.
        of: what every help text begins with, in a command that has other options beside them.
    """
    headings: dict[str, Any] = {"": parser}
    for field in own_first(options):
        heading = field.metadata["group"]
        if heading not in headings:
            headings[heading] = parser.add_argument_group(heading)
        default = f" (default: {field.default})" if isinstance(field.default, str) and field.default else ""
        headings[heading].add_argument(
            flag_of(field),
            dest=field.name,
            default=list(field.default) if isinstance(field.default, tuple) else field.default,
            help=of + field.metadata["meaning"] + ("" if field.metadata["required"] else default),
            **_taking(field),
        )


def parse_options(options: type[OptionsT], arguments: argparse.Namespace) -> OptionsT:
    """The options that a command line gave.

    Raises:
        InputError: naming every value that doesn't fit.
    """
    return options.parse({field.name: getattr(arguments, field.name) for field in dataclasses.fields(options)})


def own_first(options: type[RunningOptions]) -> Iterator[dataclasses.Field]:
    """The fields of a class, then those that it inherits."""
    fields = dataclasses.fields(options)
    yield from (field for field in fields if field.name in options.__annotations__)
    yield from (field for field in fields if field.name not in options.__annotations__)


def _taking(field: dataclasses.Field) -> dict[str, Any]:
    """What argparse must know of the words that follow an option."""
    if field.default is False:
        return {"action": "store_true"}
    metavar = field.metadata["metavar"] or flag_of(field).strip("-").upper()
    taking = {"metavar": metavar, "required": field.metadata["required"]}
    return taking | {"nargs": "+", "action": "extend"} if isinstance(field.default, tuple) else taking
