"""``python -m ncct_cta.infer``: synthesise the CTA of non-contrast chest CTs.

For each NIfTI volume in HU, {case}_syncta.nii.gz is written in HU on the same grid, where case is the input's name
without .nii, .nii.gz and a trailing _ncct, or its folder's where the name is ncct, ct, image or the like alone. So does
a DICOM series, whose case is a pseudonym; --dicom also writes it as a derived DICOM series, {case}_syncta_dicom.

{case}_syncta.json beside it says what it was made from: what is there already is kept if that is the same, and else
named in a line. The result is synthetic and not for diagnosis. Thrombus, dissection and plaque can't be expected in it.

Of several models (--run A B) the mean is written; with --uncertainty, {case}_sd.nii.gz beside it says how far they
disagree, or how far a single model's predictions of the scan moved a little do (--tta).
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

from ..common.command_line import add_scheduler, command_parser, require_path
from ..common.errors import one_line_errors
from ..common.progress import console_level
from .models import model_sources, or_starter
from .options import InferenceOptions, add_options, parse_options


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command_parser("infer", __doc__)
    add_options(parser, InferenceOptions)
    add_scheduler(parser, "synthesises the cases")
    return parser


@one_line_errors()
def main(argv: Sequence[str] | None = None) -> None:
    """Synthesise."""
    arguments = build_parser().parse_args(argv)
    options = or_starter(parse_options(InferenceOptions, arguments))
    model_sources(options)
    require_path(options.input)
    from . import on_cluster, running  # PyTorch and MONAI take seconds, which a usage error or --help needn't wait for

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    logging.getLogger("ncct_cta").setLevel(console_level())
    if arguments.scheduler:
        on_cluster.run_inference_on_cluster(options, arguments.scheduler)
        return
    model = running.load_model(options)
    running.run_inference(running.build_engine(options, model, running.input_cases(options)), model)
