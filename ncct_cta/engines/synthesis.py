"""From a scan in HU to its synthetic CTA in HU on the same grid, whatever its orientation and its voxel size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Spacing, SpatialResample
from nibabel.orientations import inv_ornt_aff
from torch import nn

from ..common.hu import to_int16_hu
from ..common.progress import progress_bar
from ..inferers.estimate import SD
from ..inferers.region import MARGIN, body_box, cut, find_body, paste, widened
from ..inferers.volume import REFINED, VolumeInferer
from ..transforms import preprocess_ncct
from ..volumes.nifti import Volume
from ..volumes.orientation import from_ras, spacing_to_ras, to_ras


def synthesise(
    volume: Volume,
    network: nn.Module,
    inferer: VolumeInferer,
    *,
    spacing: Sequence[float] | None = None,
    preprocessing: Compose | None = None,
) -> np.ndarray:
    """Synthesise the CTA of a scan, int16 HU on the scan's own grid; see ``synthesise_stages``."""
    return synthesise_stages(volume, network, inferer, spacing=spacing, preprocessing=preprocessing)[REFINED]


def synthesise_stages(
    volume: Volume,
    network: nn.Module,
    inferer: VolumeInferer,
    *,
    spacing: Sequence[float] | None = None,
    preprocessing: Compose | None = None,
    stages: Sequence[str] = (REFINED,),
) -> dict[str, np.ndarray]:
    """Synthesise the CTA of a scan, on the scan's own grid, and optionally return the stages before it.

    The network's change is added to the scan's own HU, so whatever it leaves alone stays exact, outside the window too
    and also when the network works at another voxel size.

    Args:
        volume: the NCCT in HU, in any orientation.
        network: the cascade, or an ensemble of some.
        inferer: how the cascade covers a volume.
        spacing: voxel size in mm that the network was trained on; None: the scan's own.
        preprocessing: a run's own list, which decides instead of ``spacing`` what the network sees; None: the shipped
            one.
        stages: names of the ``Stages`` to return; ``SD``: how far several predictions disagree, a standard deviation.

    Returns:
        int16 HU, the shape of ``volume``, for each of ``stages``.

    Raises:
        InputError: if the network predicts values that aren't finite, or a step of ``preprocessing`` fails.
    """
    ras, orientation = to_ras(volume.array, volume.affine)
    # Laid out slice by slice in memory, as the network takes them: gathering strided slices would take ten times as
    # long.
    ncct_hu = torch.from_numpy(np.ascontiguousarray(np.moveaxis(ras, -1, 0))).permute(1, 2, 0)
    if preprocessing is not None:
        affine = volume.affine @ inv_ornt_aff(orientation, volume.shape)
        seen = preprocess_ncct(preprocessing, volume)
        images = _by_changes_on(seen, ncct_hu, affine, network, inferer, stages)
    elif spacing is None:
        images = _on_own_grid(ncct_hu, network, inferer, stages)
    else:
        own = spacing_to_ras(volume.spacing, orientation)
        images = _on_another_grid(ncct_hu, own, spacing, network, inferer, stages)
    return {name: from_ras(image, orientation) for name, image in images.items()}


def _on_own_grid(
    ncct_hu: torch.Tensor, network: nn.Module, inferer: VolumeInferer, stages: Sequence[str]
) -> dict[str, np.ndarray]:
    """Each stage of (X, Y, Z) HU in int16 HU, slice by slice in memory as the network gives them."""
    width, height, depth = ncct_hu.shape
    images = {name: torch.empty((depth, width, height), dtype=torch.int16).permute(1, 2, 0) for name in stages}
    with progress_bar(total=depth, desc="slices", unit="slice", leave=False) as bar:
        for slices in inferer.synthesise(ncct_hu, network, images):
            bar.update(slices.span.stop - slices.span.start)
    return {name: image.numpy() for name, image in images.items()}


def _on_another_grid(
    ncct_hu: torch.Tensor,
    own_spacing: Sequence[float],
    spacing: Sequence[float],
    network: nn.Module,
    inferer: VolumeInferer,
    stages: Sequence[str],
) -> dict[str, np.ndarray]:
    """The same, by the changes that the network makes on a grid of ``spacing``.

    That grid begins at the body, not at the scan's corner, so that more air around doesn't move its voxels.
    """
    margin = [math.ceil(MARGIN * wanted / own) for wanted, own in zip(spacing, own_spacing, strict=True)]
    body = find_body(ncct_hu)
    box = widened(body_box(body.boxes), margin=margin[:2])
    outside = ~cut(body.inside(slice(None), ncct_hu.shape[:2]).permute(1, 2, 0), box, 0)
    boxed = MetaTensor(cut(ncct_hu, box)[None].float(), affine=torch.diag(torch.tensor([*own_spacing, 1.0])))
    coarse: Any = Spacing(pixdim=spacing, mode="bilinear", padding_mode="border")(boxed)
    seen_hu = coarse.as_tensor()[0]
    made = {name: torch.empty_like(seen_hu) for name in stages}
    for _ in inferer.synthesise(seen_hu, network, made):
        pass
    back = SpatialResample(mode="bilinear", padding_mode="border")
    images = {}
    for name, hu in made.items():
        change = MetaTensor(_change(name, hu, seen_hu)[None], affine=coarse.affine)
        synthetic_hu = _start(name, ncct_hu.float())
        change_of_body = torch.as_tensor(back(change, dst_affine=boxed.affine, spatial_size=boxed.shape[1:])[0])
        paste(cut(synthetic_hu, box) + change_of_body.masked_fill(outside, 0), box, synthetic_hu)
        images[name] = to_int16_hu(synthetic_hu.numpy())
    return images


def _by_changes_on(
    seen: MetaTensor,
    ncct_hu: torch.Tensor,
    affine: np.ndarray,
    network: nn.Module,
    inferer: VolumeInferer,
    stages: Sequence[str],
) -> dict[str, np.ndarray]:
    """The same, by the changes that the network makes of ``seen``, (1, X, Y, Z) in HU, wherever that lies.

    What ``seen`` leaves out of the scan doesn't change.
    """
    seen_hu = seen.as_tensor()[0].float()
    made = {name: torch.empty_like(seen_hu) for name in stages}
    for _ in inferer.synthesise(seen_hu, network, made):
        pass
    place: dict[str, Any] = {"dst_affine": torch.from_numpy(affine), "spatial_size": ncct_hu.shape}
    everywhere = MetaTensor(torch.ones_like(seen_hu)[None], affine=seen.affine)
    within = SpatialResample(mode="nearest", padding_mode="zeros")(everywhere, **place)[0].numpy()
    back = SpatialResample(mode="bilinear", padding_mode="border")
    changes = {
        name: back(MetaTensor(_change(name, hu, seen_hu)[None], affine=seen.affine), **place)
        for name, hu in made.items()
    }
    return {
        name: to_int16_hu(_start(name, ncct_hu).numpy() + within * change[0].numpy())
        for name, change in changes.items()
    }


def _change(name: str, hu: torch.Tensor, seen_hu: torch.Tensor) -> torch.Tensor:
    """What is brought back to the scan's grid: a stage's change; a standard deviation is none and comes as it is."""
    return hu if name == SD else hu - seen_hu


def _start(name: str, ncct_hu: torch.Tensor) -> torch.Tensor:
    """What that is added to."""
    return torch.zeros_like(ncct_hu) if name == SD else ncct_hu
