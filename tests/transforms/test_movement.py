"""A batch is moved alike in all of its images, as SciPy's splines would move it, and cut out of its boxes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform, gaussian_filter

from ncct_cta.common.keys import CASE, CTA, IGNORE, LUNG, MARGIN, MOVEMENT, NCCT
from ncct_cta.transforms import RandMovement, moved_patches


def moved(images: dict[str, torch.Tensor], seeds: list[int], margin: tuple[int, ...]) -> dict[str, Any]:
    """A batch's patches; a seed below 0 doesn't move."""
    movements = []
    for seed in seeds:
        draw = RandMovement(len(margin), prob=float(seed >= 0))
        draw.set_random_state(seed=max(seed, 0))
        movements.append(draw({})[MOVEMENT])
    batch = {**images, MOVEMENT: torch.stack(movements), MARGIN: torch.tensor([margin] * len(seeds)), CASE: ["p"]}
    return moved_patches(batch, batch[MOVEMENT], margin)


def moved_alone(image: torch.Tensor, seed: int, margin: int = 0) -> torch.Tensor:
    """The patch of one box (1, *spatial)."""
    return moved({NCCT: image[None]}, [seed], (margin,) * (image.ndim - 1))[NCCT][0]


def by_scipy(box: np.ndarray, seed: int, order: int) -> np.ndarray:
    """The whole box (*spatial), moved by SciPy."""
    draw = RandMovement(box.ndim, prob=1.0)
    draw.set_random_state(seed=seed)
    matrix = draw({})[MOVEMENT].double().numpy()
    middle = (np.array(box.shape) - 1) / 2
    linear, shift = matrix[:, :-1], matrix[:, -1]
    offset = middle + shift - linear @ middle
    return affine_transform(box.astype(float), linear, offset, order=order, mode="nearest")


def noise(*shape: int, sigma: float = 0.7) -> np.ndarray:
    """A CT's noise is correlated over some voxels by the reconstruction kernel, as the phantoms' is."""
    return gaussian_filter(np.random.default_rng(0).standard_normal(shape), sigma).astype(np.float32)


@pytest.mark.parametrize("seed", range(4))
def test_slices_are_moved_as_by_scipys_cubic_splines(seed):
    margin = RandMovement(2).margin((48, 40))
    box = noise(48 + 2 * margin[0], 40 + 2 * margin[1])
    found = moved({NCCT: torch.from_numpy(box)[None, None]}, [seed], margin)[NCCT][0, 0].numpy()
    expected = by_scipy(box, seed, 3)[tuple(slice(more, -more) for more in margin)]
    assert found.shape == (48, 40)
    # Noise of 100 HU here has a standard deviation of 0.4: this is less than a hundredth of a HU.
    assert np.abs(found - np.clip(expected, box.min(), box.max())).max() < 2e-5


@pytest.mark.parametrize("seed", range(2))
def test_volumes_are_moved_linearly(seed):
    margin = RandMovement(3).margin((24, 20, 16))
    box = noise(*(side + 2 * more for side, more in zip((24, 20, 16), margin, strict=True)))
    found = moved({NCCT: torch.from_numpy(box)[None, None]}, [seed], margin)[NCCT][0, 0].numpy()
    expected = by_scipy(box, seed, 1)[tuple(slice(more, -more) for more in margin)]
    assert np.abs(found - expected).max() < 2e-5


def test_masks_take_their_nearest_voxel():
    margin = RandMovement(2).margin((48, 48))
    box = (noise(48 + 2 * margin[0], 48 + 2 * margin[0], sigma=2.0) > 0).astype(np.float32)
    found = moved({LUNG: torch.from_numpy(box)[None, None]}, [1], margin)[LUNG][0, 0].numpy()
    expected = by_scipy(box, 1, 0)[tuple(slice(more, -more) for more in margin)]
    assert set(np.unique(found)) == {0.0, 1.0}
    assert np.mean(found != expected) < 1e-3  # a place in the middle between two voxels is a matter of rounding


def test_a_sample_that_does_not_move_stays_what_it_is_beside_one_that_does():
    box = torch.from_numpy(noise(2, 40, 40))[:, None]
    patches = moved({NCCT: box, LUNG: (box > 0).float()}, [-1, 2], (10, 10))
    assert torch.equal(patches[NCCT][0], box[0, :, 10:-10, 10:-10])
    assert torch.equal(patches[LUNG][0], (box > 0).float()[0, :, 10:-10, 10:-10])
    assert not torch.allclose(patches[NCCT][1], box[1, :, 10:-10, 10:-10], atol=0.1)


def test_a_sample_is_moved_alike_whatever_is_beside_it():
    box = torch.from_numpy(noise(3, 40, 40))[:, None]
    together = moved({NCCT: box}, [5, 6, 7], (10, 10))[NCCT]
    for number, seed in enumerate((5, 6, 7)):
        assert torch.equal(together[number], moved_alone(box[number], seed, 10))


def test_all_images_of_a_sample_are_moved_alike():
    box = torch.from_numpy(noise(2, 3, 40, 40))
    mask = (box[:, 1:2] > 0.1).float()
    batch = {NCCT: box, CTA: box[:, 1:2] + 1, LUNG: mask, IGNORE: mask}
    patches = moved(batch, [3, 4], (10, 10))
    assert patches.keys() == {NCCT, CTA, LUNG, IGNORE, CASE}
    assert torch.allclose(patches[CTA] - patches[NCCT][:, 1:2], torch.tensor(1.0), atol=1e-5)
    assert torch.equal(patches[LUNG], patches[IGNORE])
    for channel in (0, 2):
        assert torch.equal(patches[NCCT][0, channel], moved_alone(box[0, channel][None], 3, 10)[0])


def test_each_image_stays_in_its_own_range():
    halves = torch.zeros(2, 1, 48, 48)
    halves[..., :24, :] = torch.tensor([1.0, 5.0]).reshape(2, 1, 1, 1)
    patches = moved({NCCT: halves}, [0, 1], (8, 8))[NCCT]
    assert patches.amin((1, 2, 3)).tolist() == [0.0, 0.0]
    assert patches.amax((1, 2, 3)).tolist() == [1.0, 5.0]


def test_slices_are_turned_scaled_and_shifted_but_never_mirrored():
    half = torch.zeros(1, 64, 64)
    half[:, :32] = 1.0  # the left half; stays the left half
    for seed in range(16):
        patch = moved_alone(half, seed)
        assert not torch.equal(patch, half)
        assert patch[0, :16].mean() > 0.9
        assert patch[0, 48:].mean() < 0.1


@pytest.mark.parametrize("shape", [(32, 32), (16, 16, 16)])
def test_intensities_are_left_alone(shape):
    flat = torch.full((1, *shape), 0.37)
    for seed in range(4):
        assert torch.allclose(moved_alone(flat, seed), flat, atol=1e-6)


def test_the_noise_of_a_slice_stays():
    (margin, _) = RandMovement().margin((64, 64))
    box = torch.from_numpy(noise(64 + 2 * margin, 64 + 2 * margin))[None]
    for seed in range(6):
        assert moved_alone(box, seed, margin).std() > 0.95 * box[0, margin:-margin, margin:-margin].std()


@pytest.mark.parametrize("size", [(64, 40), (32, 24, 16)], ids=["2-D", "3-D"])
def test_with_its_margin_no_voxel_of_a_patch_is_a_repeated_edge(size):
    margin = RandMovement(len(size)).margin(size)
    shape = tuple(side + 2 * more for side, more in zip(size, margin, strict=True))
    for axis, side in enumerate(shape):
        ramp = torch.arange(side, dtype=torch.float32).reshape([-1 if n == axis else 1 for n in range(len(shape))])
        for seed in range(12):
            patch = moved({NCCT: ramp.expand(1, 1, *shape)}, [seed], margin)[NCCT][0, 0]
            assert patch.diff(dim=axis).min() > 0.85  # at a repeated edge the ramp would be flat
