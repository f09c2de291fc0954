"""``python -m ncct_cta.export``: write a trained network as an ONNX model for other programs.

The model takes "ncct", the scan in the HU window of its training scaled to [-1, 1], and gives "cta" likewise, both of
shape (batch, 1, *sides); one that was trained on several slices (model.in_slices) takes them as the channels of "ncct",
and gives the middle one. Batch and sides are free, but the sides are multiples of a number that the model's metadata
states beside the window. What infer does around it (the body's box, windows of the training patch's size, HU outside
the window) is up to the program that runs it. The written model is run in ONNX Runtime at three sizes, and compared.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from ..common.command_line import command_parser
from ..common.errors import InputError, one_line_errors
from ..runs.model_source import ModelSource

NEEDED = ("onnx", "onnxscript", "onnxruntime")


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command_parser("export", __doc__)
    parser.add_argument("run", metavar="RUN", help="a trained run's folder, or a checkpoint")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the model to write, such as g.onnx")
    parser.add_argument(
        "--trust", action="store_true", help="also import a network class from outside this package: it runs its code"
    )
    return parser


@one_line_errors()
def main(argv: Sequence[str] | None = None) -> None:
    """Export."""
    options = build_parser().parse_args(argv)
    is_run = not Path(options.run).is_file()
    source = ModelSource(run=options.run) if is_run else ModelSource(checkpoint=options.run)
    source.require()
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"export needs {', '.join(missing)}; pip install 'ncct-cta[onnx]'")
    from ..runs.trained_model import TrainedModel  # PyTorch and MONAI take seconds
    from .onnx_model import largest_difference, write_onnx

    model = TrainedModel(source.run, source.checkpoint, device="cpu", trust=options.trust)
    write_onnx(model, options.output)
    print(f"{options.output}: within {largest_difference(model, options.output):.1g} of PyTorch at three sizes")
