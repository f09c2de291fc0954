"""Whole volume in, whole volume out: how a network that sees slices or patches covers a scan."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import torch
from monai.inferers import Inferer, sliding_window_inference
from torch import nn
from torch.nn import functional

from ..common.hu import HUWindow, to_int16_hu
from ..common.precision import autocast
from ..networks import Stages

REFINED = "refined"  # the stage that is the synthetic CTA


class SynthesisedSlices(NamedTuple):
    """What the cascade saw and made of neighbouring slices of a volume, or of all of them.

    Args:
        span: where they lie along Z.
        ncct: its input, float32 in [-1, 1]: (n, 1, X, Y) for n slices, or (1, 1, X, Y, Z) for the whole volume.
        stages: its output, likewise.
    """

    span: slice
    ncct: torch.Tensor
    stages: Stages

    def change(self, stage: str) -> torch.Tensor:
        """What a stage adds to the input, in the volume's layout: (X, Y, n) in units of [-1, 1]."""
        change = getattr(self.stages, stage) - self.ncct
        return change[:, 0].permute(1, 2, 0) if change.ndim == 4 else change[0, 0]


class VolumeInferer(Inferer):
    """Run the cascade over a volume: batches of axial slices in 2-D, blended sliding windows in 3-D.

    Args:
        window: the HU window that the network was trained on.
        patch_size: the training patch; its length says whether the network is 2-D or 3-D.
        multiple: in-plane sizes are padded to multiples of this (a UNet halves them on every level).
        batch_size: slices or patches a forward pass.
        overlap: share of a 3-D window that its neighbour covers too; blended with Gaussian weights.
        amp: mixed precision: off, bf16 or fp16.
    """

    def __init__(
        self,
        *,
        window: HUWindow,
        patch_size: Sequence[int],
        multiple: int = 1,
        batch_size: int = 4,
        overlap: float = 0.25,
        amp: str = "off",
    ) -> None:
        super().__init__()
        self.window = window
        self.patch_size = tuple(patch_size)
        self.multiple = multiple
        self.batch_size = batch_size
        self.overlap = overlap
        self.amp = amp

    def __call__(  # type: ignore[override]
        self, inputs: torch.Tensor, network: nn.Module, *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Synthesise the CTA of one volume.

        Args:
            inputs: (1, 1, X, Y, Z) in HU, RAS+ orientation.
            network: the cascade.
            args: not used; MONAI's inferers take them.
            kwargs: not used either.

        Returns:
            (1, 1, X, Y, Z) float32 in HU, on the CPU.
        """
        ncct_hu = inputs[0, 0].cpu()
        synthetic = torch.empty(ncct_hu.shape)
        for _ in self.synthesise(ncct_hu, network, {REFINED: synthetic}):
            pass
        return synthetic[None, None]

    def synthesise(
        self, ncct_hu: torch.Tensor, network: nn.Module, images: Mapping[str, torch.Tensor]
    ) -> Iterator[SynthesisedSlices]:
        """Run the cascade over a volume and write what it made of it, batch by batch: floats of a batch alone are held.

        Args:
            ncct_hu: (X, Y, Z) in HU, any type, RAS+ orientation.
            network: the cascade; it decides the device.
            images: of each stage wanted, by its name in ``Stages``, the volume to write in HU: (X, Y, Z), float32, or
                int16, which is rounded to.

        Yields:
            each batch once it is written.
        """
        for slices in self._slices(ncct_hu, network):
            own_hu = ncct_hu[..., slices.span].float()
            for stage, image in images.items():
                hu = self.window.apply_change(own_hu, slices.change(stage))
                image[..., slices.span] = (
                    torch.from_numpy(to_int16_hu(hu.numpy())) if image.dtype == torch.int16 else hu
                )
            yield slices

    @torch.inference_mode()
    def _slices(self, ncct_hu: torch.Tensor, network: nn.Module) -> Iterator[SynthesisedSlices]:
        network.eval()
        device = next(network.parameters()).device
        depth = ncct_hu.shape[-1]
        if len(self.patch_size) == 3:
            ncct = self.window.normalise(ncct_hu.float())[None, None]
            yield SynthesisedSlices(slice(0, depth), ncct, self._slide(ncct, network, device))
            return
        with _batches_on_cores(self.batch_size) if device.type == "cpu" else nullcontext(_whole_batches) as apply:
            for first in range(0, depth, self.batch_size):
                span = slice(first, min(first + self.batch_size, depth))
                ncct = self.window.normalise(ncct_hu[..., span].permute(2, 0, 1)[:, None].float().contiguous())
                yield SynthesisedSlices(span, ncct, apply(partial(self._run, network=network), ncct.to(device)))

    @torch.inference_mode()
    def _run(self, ncct: torch.Tensor, network: nn.Module) -> Stages:
        width, height = ncct.shape[-2:]
        padding = (0, -height % self.multiple, 0, -width % self.multiple)
        padded = functional.pad(ncct, padding, mode="replicate") if any(padding) else ncct
        with autocast(ncct.device, self.amp):
            stages = network(padded)
        return Stages(*(image[..., :width, :height].float().cpu() for image in stages))

    def _slide(self, ncct: torch.Tensor, network: nn.Module, device: torch.device) -> Stages:
        with autocast(device, self.amp):
            stages = sliding_window_inference(
                ncct,
                roi_size=self.patch_size,
                sw_batch_size=self.batch_size,
                # A copy each: MONAI weighs them in place, and without G2 two stages are one tensor.
                predictor=lambda patch: tuple(image.to(torch.float32, copy=True) for image in network(patch)),
                overlap=self.overlap,
                mode="gaussian",
                padding_mode="replicate",
                sw_device=device,
                device=torch.device("cpu"),
            )
        return Stages(*stages)


Run = Callable[[torch.Tensor], Stages]


def _whole_batches(run: Run, ncct: torch.Tensor) -> Stages:
    return run(ncct)


@contextmanager
def _batches_on_cores(batch_size: int) -> Iterator[Callable[[Run, torch.Tensor], Stages]]:
    """Run the slices of a batch side by side on a CPU, each on its own core, instead of each layer on all cores.

    The cores needn't wait for each other after every layer, and what one slice needs fits their caches: on two cores
    that takes 0.6 of the time, and much less where other programs want the cores too.
    """
    threads = torch.get_num_threads()
    workers = min(threads, batch_size)
    # PyTorch keeps for each calling thread how many threads a layer takes.
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(threads // workers,)) as pool:

        def apply(run: Run, ncct: torch.Tensor) -> Stages:
            parts = list(pool.map(run, ncct.split(1)))
            return Stages(*(torch.cat(images) for images in zip(*parts, strict=True)))

        try:
            yield apply
        finally:
            torch.set_num_threads(threads)  # new threads take over what was set last
