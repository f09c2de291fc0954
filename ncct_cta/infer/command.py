"""``python -m ncct_cta.infer``: synthesise the CTA of non-contrast chest CTs.

Each NIfTI volume in HU becomes {case}_syncta.nii.gz in HU on the same grid, where case is the input's name without
.nii, .nii.gz and a trailing _ncct. So does a DICOM series, whose case is a pseudonym; --dicom also writes it as a
derived DICOM series, {case}_syncta_dicom. The result is synthetic and not for diagnosis.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from ..common.errors import InputError, one_line_errors
from ..dicom.pseudonyms import KEY_FILE
from ..engines import InferenceEngine
from ..runs.trained_model import TrainedModel
from .dicom_cases import DerivedSeriesWriter
from .input_cases import InputCases
from .running import run_inference


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m ncct_cta.infer", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--input", required=True, help="a NIfTI file, a folder of them, a case list (datalist.json), or a DICOM folder"
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="the folder to write to")
    parser.add_argument("--run", default="", metavar="RUN_DIR", help="a run's folder: its settings and best weights")
    parser.add_argument("--checkpoint", default="", metavar="FILE", help="a checkpoint, with --run or alone")
    parser.add_argument("--split", default="", help="split of a case list or of a folder's (default: testing, or all)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1; auto: cuda if there is one (default)")
    parser.add_argument("--amp", default="", choices=("off", "bf16", "fp16"), help="precision (default: as trained)")
    parser.add_argument("--batch-size", type=int, default=0, help="slices or patches a pass (default: as trained)")
    parser.add_argument(
        "--save-intermediates",
        action="store_true",
        help="also write what G gave and what G2 got: {case}_coarse.nii.gz and {case}_intermediate.nii.gz",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    parser.add_argument("--trust", action="store_true", help="also run the code of a network that isn't this package's")
    parser.add_argument("--debug", action="store_true", help="log shapes, ranges, timings and memory of every stage")
    _add_dicom_arguments(parser.add_argument_group("DICOM input"))
    return parser


def _add_dicom_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--dicom", action="store_true", help="also write DICOM: {case}_syncta_dicom")
    group.add_argument(
        "--series",
        nargs="+",
        default=(),
        metavar="NAME",
        help="which series of a folder that holds several, or all",
    )
    group.add_argument(
        "--keys",
        default="",
        metavar="FILE",
        help=f"the key table with the pseudonyms (default: {KEY_FILE} in the output folder, made if missing)",
    )


def _check(arguments: argparse.Namespace) -> None:
    if not arguments.run and not arguments.checkpoint:
        raise InputError("neither --run nor --checkpoint is given; say which trained model to use")
    if arguments.batch_size < 0:
        raise InputError(f"--batch-size is {arguments.batch_size}, expected at least 1, or 0: as trained")
    if arguments.keys and not Path(arguments.keys).exists():
        # A new table would have a new salt: the same patients would get other names.
        raise InputError(
            f"--keys {arguments.keys}: there is no such file; check the path, or leave it out for a new one"
        )


@one_line_errors()
def main(argv: Sequence[str] | None = None) -> None:
    """Synthesise."""
    arguments = build_parser().parse_args(argv)
    level = logging.DEBUG if arguments.debug else logging.INFO
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    logging.getLogger("ncct_cta").setLevel(level)
    _check(arguments)
    model = TrainedModel(
        arguments.run,
        arguments.checkpoint,
        device=arguments.device,
        amp=arguments.amp,
        batch_size=arguments.batch_size,
        trust=arguments.trust,
    )
    engine = InferenceEngine(
        device=model.device,
        cases=InputCases(
            arguments.input,
            arguments.split,
            series=arguments.series,
            key_file=arguments.keys or str(Path(arguments.output) / KEY_FILE),
        ),
        network=model.cascade,
        inferer=model.inferer,
        output_dir=arguments.output,
        spacing=model.settings.data.spacing,
        overwrite=arguments.overwrite,
        save_intermediates=arguments.save_intermediates,
        write_dicom=DerivedSeriesWriter(model.identity) if arguments.dicom else None,
    )
    run_inference(engine, model)
