"""A trained network as an ONNX model with a free batch and free sides."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch

from ..common.errors import InputError
from ..common.files import written_whole
from ..runs.trained_model import TrainedModel

INPUT, OUTPUT = "ncct", "cta"
PURPOSE = "synthetic CTA from a non-contrast CT; for research, not for diagnosis"
# Float32 sums in another order differ in the 7th digit; as HU, a thousandth of the window would be one unit.
TOLERANCE = 1e-3
# Batch, and a patch's sides in units of what they are multiples of.
SIZES = ((1, 1.0), (2, 1.5), (3, 0.5))


def write_onnx(model: TrainedModel, path: Path) -> None:
    """Export by ``torch.onnx``; the HU window, the sides' multiple and the weights' digest stand in the metadata.

    Args:
        model: a trained model on the CPU.
        path: the file; an older one is replaced when the new one is whole.

    Raises:
        InputError: if the network holds what ONNX lacks, or the file can't be written.
    """
    ncct = next(_inputs(model))
    free = dict.fromkeys((0, *range(2, ncct.ndim)), torch.export.Dim.AUTO)
    example = torch.cat((ncct, ncct))  # a batch of one would count as fixed
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it names torchvision, which nothing here needs
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                model.network.eval(),
                (example,),
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamo=True,
                dynamic_shapes=(free,),
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise InputError(f"this network can't be exported: {' '.join(str(error).split())[:200]}") from error
    assert program is not None
    program.model.metadata_props.update(_metadata(model))
    with written_whole(path, ".onnx") as temporary:
        program.save(temporary)


def largest_difference(model: TrainedModel, path: Path) -> float:
    """The largest difference between ONNX Runtime and PyTorch at three sizes, in units of the scaled window.

    Raises:
        InputError: if it is more than ``TOLERANCE``.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    largest = 0.0
    for ncct in _inputs(model):
        with torch.inference_mode():
            expected = model.network.eval()(ncct)
        found = torch.from_numpy(session.run([OUTPUT], {INPUT: ncct.numpy()})[0])
        largest = max(largest, float((found - expected).abs().max()))
    if not largest <= TOLERANCE:
        raise InputError(f"{path}: ONNX Runtime gives another image than PyTorch (by {largest:.2g} of the window)")
    return largest


def _inputs(model: TrainedModel) -> Iterator[torch.Tensor]:
    """Random images of the sizes that are compared, always the same ones."""
    generator = torch.Generator().manual_seed(0)
    multiple = model.inferer.multiple
    for batch, scale in SIZES:
        sides = [max(1, round(edge * scale / multiple)) * multiple for edge in model.inferer.patch_size]
        yield 2 * torch.rand(batch, model.inferer.in_slices, *sides, generator=generator) - 1


def _metadata(model: TrainedModel) -> dict[str, str]:
    data = model.settings.data
    return {
        "hu_window": json.dumps(list(data.window)),
        "in_slices": str(model.inferer.in_slices),
        "spacing_mm": json.dumps(data.spacing),
        "side_multiple": str(model.inferer.multiple),
        "patch_size": json.dumps(list(data.patch_size)),
        "weights": model.identity,
        "purpose": PURPOSE,
    }
