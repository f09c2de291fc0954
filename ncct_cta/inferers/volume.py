"""Whole volume in, whole volume out: how a network that sees slices or patches covers a scan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

import torch
from monai.inferers import Inferer, sliding_window_inference
from torch import nn

from ..common.hu import AIR_HU, HUWindow, to_int16_hu
from ..common.precision import autocast
from ..common.slices import neighbours
from ..networks import Stages, intermediate_image, middle_slice
from ..networks.ensemble import members_of
from .cores import batches_on_cores, whole_batches
from .estimate import SD, Estimate, averaged, pasted
from .movements import STILL, Movement
from .region import Box, body_box, cut, find_body, widened, within

REFINED = "refined"  # the stage that is the synthetic CTA
WINDOWS_APART = 8  # voxels that windows move by from slice to slice: larger steps make more of them necessary


class SynthesisedSlices(NamedTuple):
    """What the cascade saw and made of neighbouring slices of a volume, or of all of them.

    Args:
        span: where they lie along Z.
        ncct: its input, float32 in [-1, 1]: (n, 1, X, Y) for n slices, where the network lies, or (1, 1, X, Y, Z) for
            the whole volume, where that lies.
        stages: its output, likewise.
    """

    span: slice
    ncct: torch.Tensor
    stages: Estimate

    def change(self, stage: str) -> torch.Tensor:
        """What a stage adds to the input, or ``SD``, in the volume's layout: (X, Y, n) in units of [-1, 1]."""
        image = getattr(self.stages, stage)
        change = image if stage == SD else image - self.ncct
        return change[:, 0].permute(1, 2, 0) if change.ndim == 4 else change[0, 0]


class VolumeInferer(Inferer):
    """Run the cascade over a volume: batches of axial slices in 2-D, blended sliding windows in 3-D.

    It sees the body's box alone (``region``), so the result doesn't depend on the air around; what lies outside stays.

    Args:
        window: the HU window that the network was trained on.
        patch_size: the training patch; its length says whether the network is 2-D or 3-D.
        multiple: what the sizes of a slice are multiples of (a UNet halves them on every level); windows have the
            patch's size.
        batch_size: slices or patches per forward pass.
        overlap: share of a window that its neighbour covers too; blended with Gaussian weights.
        amp: mixed precision: off, bf16 or fp16.
        windowed: cover slices too by windows: for a network with instance norm, whose result depends on all that it
            sees, so that it must see as much as in training.
        in_slices: axial slices that a 2-D network sees; beyond the body's box along Z its outermost ones are repeated.
        movements: of what a network sees; of several, as of an ensemble's networks, the changes are averaged.
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
        windowed: bool = False,
        movements: Sequence[Movement] = (STILL,),
        in_slices: int = 1,
    ) -> None:
        super().__init__()
        self.window = window
        self.patch_size = tuple(patch_size)
        self.multiple = multiple
        self.batch_size = batch_size
        self.overlap = overlap
        self.amp = amp
        self.windowed = windowed or len(self.patch_size) == 3
        self.movements = tuple(movements)
        self.in_slices = in_slices

    def __call__(  # type: ignore[override]
        self, inputs: torch.Tensor, network: nn.Module, *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Synthesise the CTA of one volume.

        Args:
            inputs: (1, 1, X, Y, Z) in HU, RAS+ orientation.
            network: the cascade.
            args: unused; part of the interface of MONAI's inferers.
            kwargs: unused, likewise.

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
            network: the cascade, on the device to use, or an ``Ensemble`` of some.
            images: of each stage wanted, by its name in ``Stages``, or ``SD`` where there are several predictions, the
                volume to write in HU: (X, Y, Z), float32, or int16, which is rounded to.

        Yields:
            each batch once it is written.
        """
        for slices in self._slices(ncct_hu, network):
            own_hu = ncct_hu[..., slices.span].to(slices.ncct.device).float()
            for stage, image in images.items():
                hu = self.hu_of(slices, stage, own_hu).cpu()
                image[..., slices.span] = (
                    torch.from_numpy(to_int16_hu(hu.numpy())) if image.dtype == torch.int16 else hu
                )
            yield slices

    def hu_of(self, slices: SynthesisedSlices, stage: str, own_hu: torch.Tensor) -> torch.Tensor:
        """A stage of slices in HU, (X, Y, n); ``own_hu`` are the scan's, likewise."""
        onto = own_hu.new_zeros(()) if stage == SD else own_hu
        return self.window.apply_change(onto, slices.change(stage))

    @torch.inference_mode()
    def _slices(self, ncct_hu: torch.Tensor, network: nn.Module) -> Iterator[SynthesisedSlices]:
        """What the cascade makes of a volume; outside the body it changes nothing."""
        network.eval()
        device = next(network.parameters()).device
        body = find_body(ncct_hu)
        sides = ncct_hu.shape[:2]
        # Windows have the patch's size; slices in one piece one that the network can halve on every level.
        seen = widened(body_box(body.boxes), self.patch_size, multiple=1 if self.windowed else self.multiple)
        air = float(self.window.normalise(torch.tensor(float(AIR_HU))))
        if len(self.patch_size) == 3:
            ncct = self.window.normalise(ncct_hu.float())[None, None]
            made = self._made(cut(ncct, seen, air), network, device)
            inside = body.inside(slice(None), sides).permute(1, 2, 0)[None, None]
            yield SynthesisedSlices(slice(0, ncct.shape[-1]), ncct, pasted(made, seen, ncct, inside))
            return
        apart = WINDOWS_APART if self.windowed else self.multiple
        places = [box and within(seen[:2], box, self.patch_size, apart) for box in body.boxes]
        with batches_on_cores(self.batch_size) if device.type == "cpu" else nullcontext(whole_batches) as apply:
            for place, span in _spans(places, self.batch_size):
                seen_hu = ncct_hu[..., span].permute(2, 0, 1)[:, None].to(device)
                ncct = self.window.normalise(seen_hu.float().contiguous())
                slices: Stages | Estimate | None = None
                if place is not None:
                    seen_by_g = cut(self._with_neighbours(ncct, ncct_hu, span, seen[2]), place, air)
                    slices = apply(partial(self._run, network=network), seen_by_g)
                inside = body.inside(span, sides)[:, None].to(device)
                yield SynthesisedSlices(span, ncct, pasted(slices, place, ncct, inside))

    def _with_neighbours(self, ncct: torch.Tensor, ncct_hu: torch.Tensor, span: slice, along: slice) -> torch.Tensor:
        """The slices of a span (n, 1, X, Y) with those around each of them, (n, in_slices, X, Y)."""
        if self.in_slices == 1:
            return ncct
        near = [neighbours(z, self.in_slices, along.start, along.stop - 1) for z in range(span.start, span.stop)]
        near_hu = ncct_hu[..., torch.tensor(near)].permute(2, 3, 0, 1).to(ncct.device)
        return self.window.normalise(near_hu.float().contiguous())

    @torch.inference_mode()
    def _run(self, ncct: torch.Tensor, network: nn.Module) -> Stages | Estimate:
        made = self._made(ncct, network, ncct.device)
        return type(made)(*(image.float() for image in made))

    def _made(self, ncct: torch.Tensor, network: nn.Module, device: torch.device) -> Stages | Estimate:
        """What one network makes of slices or a volume as they are; or the mean of several networks or movements."""
        ways = [(member, movement) for member in members_of(network) for movement in self.movements]
        if len(ways) == 1:
            return self._once(ncct, ways[0][0], device)
        return averaged(middle_slice(ncct), (self._moved(ncct, member, movement, device) for member, movement in ways))

    def _moved(
        self, ncct: torch.Tensor, network: nn.Module, movement: Movement, device: torch.device
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The coarse and the refined image by the changes that the network makes of the moved one.

        Only changes are interpolated back: the image itself stays as sharp as it is.
        """
        seen = movement.moved(ncct)
        made = self._once(seen, network, device)
        own, moved = middle_slice(ncct), middle_slice(seen)
        coarse, refined = (own + movement.undone(image.float() - moved) for image in (made.coarse, made.refined))
        return coarse, refined

    def _once(self, ncct: torch.Tensor, network: nn.Module, device: torch.device) -> Stages:
        if self.windowed:
            return self._slide(ncct, network, device)
        with autocast(ncct.device, self.amp):
            return Stages(*network(ncct))

    def _slide(self, ncct: torch.Tensor, network: nn.Module, device: torch.device) -> Stages:
        """Windows of the patch's size over slices or a volume, which stay on their device; the network runs on its."""
        with autocast(device, self.amp):
            stages = sliding_window_inference(
                ncct,
                roi_size=self.patch_size,
                sw_batch_size=self.batch_size,
                # Copy each: MONAI weights them in place, and without G2 two stages are the same tensor.
                predictor=lambda patch: tuple(image.to(torch.float32, copy=True) for image in network(patch)),
                overlap=self.overlap,
                mode="gaussian",
                padding_mode="replicate",
                sw_device=device,
                device=ncct.device,
            )
        coarse, _, refined = stages
        # What is blended of products is no product of what is blended: the formula holds for what is written, too.
        return Stages(coarse, intermediate_image(middle_slice(ncct), coarse), refined)


def _spans(places: Sequence[Box | None], most: int) -> Iterator[tuple[Box | None, slice]]:
    """Neighbouring slices of which the network sees the same place, in batches of at most ``most``."""
    stop = 0
    for place, alike in groupby(places):
        start, stop = stop, stop + sum(1 for _ in alike)
        for first in range(start, stop, most):
            yield place, slice(first, min(first + most, stop))
