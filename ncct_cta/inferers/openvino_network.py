"""The cascade in OpenVINO, which takes about three quarters of PyTorch's time on a CPU."""

from __future__ import annotations

import importlib.util
import threading
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ..common.errors import InputError
from ..networks import Stages

EXTRA = "pip install 'ncct-cta[openvino]'"
# Float32 sums in another order differ in the 7th digit; as HU a thousandth of the window would be one unit.
TOLERANCE = {"off": 1e-4, "bf16": 0.1}
PRECISION = {"off": "f32", "bf16": "bf16"}


def chosen_engine(name: str, device: torch.device) -> str:
    """``torch`` or ``openvino``, if it can run on a device.

    Raises:
        InputError: if OpenVINO is asked for and isn't installed, or the device is no CPU.
    """
    installed = importlib.util.find_spec("openvino") is not None
    if name == "openvino" and not installed:
        raise InputError(f"--engine openvino: OpenVINO isn't installed; {EXTRA}, or give --engine torch")
    if name == "openvino" and device.type != "cpu":
        raise InputError(f"--engine openvino runs on a CPU, and the device is {device}; give --device cpu as well")
    return name


class NotConverted(Exception):
    """OpenVINO can't run a network, or gives other images than PyTorch; the message says which."""


class OpenVINONetwork(nn.Module):
    """A cascade that OpenVINO runs on the CPU; it is called like the one that it was made from.

    It is converted in memory each time it is loaded, which takes a second for the full-size network: a converted file
    that was kept could be of other weights, and in a stranger's folder it would be one more thing to read and to trust.

    Args:
        cascade: on the CPU, with its weights, in eval mode.
        spatial_dims: 2 or 3.
        multiple: what the sides of its input are multiples of.
        in_slices: neighbouring slices that it sees.
        amp: ``off``, or ``bf16`` where the CPU computes it.
        streams: how many images run side by side, each on its share of PyTorch's threads.

    Raises:
        NotConverted: if OpenVINO can't run the network, or gives other images than PyTorch.
    """

    def __init__(
        self,
        cascade: nn.Module,
        *,
        spatial_dims: int,
        multiple: int,
        in_slices: int = 1,
        amp: str = "off",
        streams: int = 1,
    ) -> None:
        super().__init__()
        self.where = nn.Parameter(torch.empty(0), requires_grad=False)  # says on which device inputs are wanted
        self._own = threading.local()
        example = torch.zeros(2, in_slices, *[2 * multiple] * spatial_dims)
        try:
            self._compiled = _compiled(_converted(cascade, example), amp, streams)
            self._compare(cascade, example.shape, TOLERANCE[amp])
        except NotConverted:
            raise
        except Exception as error:  # whatever a network's code or OpenVINO raises
            raise NotConverted(" ".join(str(error).split())[:200] or type(error).__name__) from error

    def forward(self, ncct: torch.Tensor) -> Stages:
        """The stages of ``ncct`` (B, in_slices, *spatial), HU window scaled to [-1, 1], float32."""
        if not hasattr(self._own, "request"):  # requests of several threads run side by side
            self._own.request = self._compiled.create_infer_request()
        found = self._own.request.infer([ncct.contiguous().numpy()], share_inputs=True)
        return Stages(*(torch.from_numpy(found[index]) for index in range(len(Stages._fields))))

    def _compare(self, cascade: nn.Module, shape: Sequence[int], tolerance: float) -> None:
        """Refuse a conversion that holds for the example's size alone, or not even there."""
        batch, channels, first, *sides = shape
        other = (batch, channels, first + first // 2, *sides)
        ncct = 2 * torch.rand(other, generator=torch.Generator().manual_seed(0)) - 1
        with torch.inference_mode():
            pairs = zip(self(ncct), cascade(ncct), strict=True)
        difference = max(float((found - expected).abs().max()) for found, expected in pairs)
        if not difference <= tolerance:
            raise NotConverted(f"it gives another image than PyTorch (by {difference:.2g} of half the window)")


def _converted(cascade: nn.Module, ncct: torch.Tensor) -> Any:
    """OpenVINO's model of a cascade, of any batch and sides."""
    # Not by openvino.convert_model, which reports each use to its makers over the network.
    from openvino import PartialShape
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch 2.13 calls TorchScript deprecated, which OpenVINO reads best
        traced = torch.jit.trace(cascade, ncct, check_trace=False).eval()
        decoder = TorchScriptPythonDecoder(traced, example_input=(ncct,))  # kept until it has been read
        frontend = FrontEndManager().load_by_framework("pytorch")
        model = frontend.convert(frontend.load(decoder))
    model.reshape(PartialShape([-1, ncct.shape[1], *[-1] * (ncct.ndim - 2)]))
    return model


def _compiled(model: Any, amp: str, streams: int) -> Any:
    from openvino import Core

    return Core().compile_model(
        model,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": PRECISION[amp],  # by default it is bf16 where the CPU has that
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": streams,
            "ENABLE_CPU_PINNING": False,  # two processes would be pinned to the same cores
        },
    )
