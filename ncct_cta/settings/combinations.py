"""What settings of several sections must be together, though each value is fine alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .sections import DiscriminatorConfig
    from .whole import Settings

DISCRIMINATOR_KERNEL = 4
NARROWEST_WINDOW = 1  # HU
SSIM_WINDOW = 11  # voxels per side


def smallest_side(num_scales: int) -> int:
    """The shortest side that D can judge, in voxels: its coarsest scale must see one kernel's width, not padding."""
    return DISCRIMINATOR_KERNEL * 2 ** (num_scales - 1)


def check_combinations(settings: Settings) -> list[str]:
    """List the conflicts between settings that are each valid by themselves."""
    data, model = settings.data, settings.model
    problems = _check_scales(data.patch_size, settings.discriminator)
    shortest = min(data.patch_size, default=0) // 2 ** (settings.loss.scales - 1)
    if settings.loss.scales > 1 and shortest < SSIM_WINDOW:
        problems.append(
            f"loss.scales is {settings.loss.scales}, which leaves {shortest} voxels of data.patch_size "
            f"{list(data.patch_size)}, expected at least SSIM's {SSIM_WINDOW}; use larger patches or fewer scales"
        )
    if len(data.window) != 2 or not data.window[1] >= data.window[0] + NARROWEST_WINDOW:
        problems.append(f"data.window is {list(data.window)}, expected [lower, upper] in HU, lower below upper")
    if data.spacing is not None and len(data.spacing) != 3:
        problems.append(f"data.spacing is {list(data.spacing)}, expected 3 values in mm, or null")
    if len(data.patch_size) != model.spatial_dims:
        problems.append(
            f"data.patch_size is {list(data.patch_size)}, expected {model.spatial_dims} values (model.spatial_dims)"
        )
    if model.in_slices > 1 and model.spatial_dims == 3:
        problems.append(f"model.in_slices is {model.in_slices}, expected 1: a 3-D G sees the slices around anyway")
    if model.head == "gated" and not model.residual_output:
        problems.append("model.head is 'gated', expected residual without model.residual_output: it gates the change")
    if model.head == "gated" and "." in model.architecture:
        problems.append(
            "model.head is 'gated', expected residual with a class of your own, which may have its own gate"
        )
    return problems


def _check_scales(patch_size: tuple[int, ...], discriminator: DiscriminatorConfig) -> list[str]:
    num_scales, shortest = discriminator.num_scales, min(patch_size, default=0)
    if not discriminator.enabled or shortest >= smallest_side(num_scales):
        return []
    fitting = [number for number in range(1, num_scales) if smallest_side(number) <= shortest]
    return [
        f"discriminator.num_scales is {num_scales}, which needs patches of {smallest_side(num_scales)} voxels a side; "
        f"data.patch_size is {list(patch_size)}, expected larger ones, or {len(fitting)} scales at most"
    ]
