"""Datasets over the stored cases: random patches for training, whole volumes for validation."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose, Transform
from torch.nn import functional
from torch.utils.data import Dataset, DistributedSampler, IterableDataset

from ..common.keys import BODY, CASE, CTA, IGNORE, LUNG, MARGIN, MOVEMENT, NCCT, SLAB_DEPTH, VESSEL
from ..common.slices import evenly_spaced, neighbours
from .paired_cases import TRAINING, VALIDATION, PairedCases
from .stored_case import StoredCase

SLAB = 8  # slices: as many as share one place of the network's view, mostly; see inferers.volume
TRIES = 64  # slices drawn in search of a vessel; if a quarter hold one, all of them miss once in 10^8 patches


class PatchDataset(Dataset):
    """Random axial slices (2-D) or patches (3-D) of the training cases, cropped and augmented.

    An item is a pure function of (seed, epoch, position): neither the order of the workers nor an interruption changes
    it.

    Args:
        cases: the case list; its training split is used.
        transforms: from a patch in HU to what the network sees, scaled to [-1, 1]. One that takes voxels from beyond
            the patch says from how far with a method ``margin``: it gets a box that is larger by this, of which the
            patch is cut out at the end. ``RandMovement`` only says how a sample is to be moved; the sample then is the
            box, and ``moved_patches`` makes a batch of them into patches, on the device that trains.
        patch_size: (X, Y) or (X, Y, Z) in voxels.
        seed: seed of all random draws.
        masks: the stored masks that a sample has beside NCCT and CTA.
        vessel_share: share of the patches that are centred on a vessel's voxel, as far as the volume's edges let them;
            the others lie anywhere. A third of those hold no vessel at all.
        in_slices: in 2-D, how many slices of the NCCT a sample has as channels: its own in the middle.
        virtual_share: share of the patches that come from virtual cases, if there are real ones too; None: each case
            is drawn as often as any other.
    """

    def __init__(
        self,
        cases: PairedCases,
        *,
        transforms: Sequence[Transform],
        patch_size: Sequence[int],
        seed: int = 0,
        masks: Sequence[str] = (LUNG,),
        vessel_share: float = 0.0,
        in_slices: int = 1,
        virtual_share: float | None = None,
    ) -> None:
        self.cases = cases
        self.transform = Compose(transforms)
        self.patch_size = tuple(patch_size)
        self.seed = seed
        reaching = [each.margin(patch_size) for each in transforms if hasattr(each, "margin")]
        self.margin = tuple(map(sum, zip(*reaching, strict=True))) or (0,) * len(self.patch_size)
        self.sampled = (NCCT, CTA, *masks)
        self.vessel_share = vessel_share
        self.in_slices = in_slices
        self.virtual_share = virtual_share

    def prepare(self) -> None:
        """Build and open every case, those of the validation too.

        Raises:
            InputError: if a case can't be used.
        """
        self.cases.prepare(TRAINING, VALIDATION)

    def __len__(self) -> int:
        """The number of axial slices in all cases."""
        return sum(case.shape[2] for case in self.cases.opened(TRAINING))

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        """Draw the sample of (epoch, position): images (1, *patch_size), masks 0 or 1; see ``transforms``.

        The NCCT is (in_slices, *patch_size). If any training case ignores voxels, every sample has such a mask. With a
        ``movement`` beside them, images are larger by the ``margin``.
        """
        random = np.random.default_rng((self.seed, *key))
        cases = self._drawn_from(random)
        case = cases[random.integers(len(cases))]
        z, *corner = self._random_corner(case, random)
        images = {name: self._cut(case.images[name], z, corner) for name in self.sampled}
        if self.in_slices > 1:
            near = neighbours(z, self.in_slices, 0, case.shape[2] - 1)
            images[NCCT] = torch.cat([self._cut(case.images[NCCT], at, corner) for at in near])
        if self._ignores:  # a second channel of the lung mask: whatever moves that one moves it alike
            images[LUNG] = torch.cat([images[LUNG], self._ignored(case, z, corner)])
        self.transform.set_random_state(seed=int(random.integers(2**31)))
        made = self.transform(images)
        # Plain tensors: MONAI's MetaTensors carry a history that would slow down every operation of the network.
        patches = {name: made[name].as_subclass(torch.Tensor) for name in self.sampled}
        if self._ignores:
            patches[LUNG], patches[IGNORE] = patches[LUNG].split(1)
        if MOVEMENT in made:
            return {**patches, MOVEMENT: made[MOVEMENT], MARGIN: torch.tensor(self.margin), CASE: case.name}
        patch = (..., *(slice(more, more + size) for more, size in zip(self.margin, self.patch_size, strict=True)))
        return {**{name: box[patch].contiguous() for name, box in patches.items()}, CASE: case.name}

    @functools.cached_property
    def _ignores(self) -> bool:
        """Whether any training case ignores voxels."""
        return any(IGNORE in case.images for case in self.cases.opened(TRAINING))

    def _ignored(self, case: StoredCase, z: int, corner: Sequence[int]) -> torch.Tensor:
        """A patch of the mask of ignored voxels, empty where the case has none; see ``_cut``."""
        if IGNORE in case.images:
            return self._cut(case.images[IGNORE], z, corner)
        return torch.zeros_like(self._cut(case.images[LUNG], z, corner))

    def _drawn_from(self, random: np.random.Generator) -> list[StoredCase]:
        """The cases that a patch may come from: all, or by ``virtual_share`` the virtual or the real ones."""
        cases = self.cases.opened(TRAINING)
        if self.virtual_share is None:
            return cases
        virtual = random.random() < self.virtual_share
        return [case for case in cases if case.virtual == virtual] or cases

    def _cut(self, volume: np.ndarray, z: int, corner: Sequence[int]) -> torch.Tensor:
        """A patch and its margin, (1, X, Y) or (1, X, Y, Z), of an image (Z, X, Y) whose edges are repeated beyond."""
        voxels = (volume[z] if len(self.patch_size) == 2 else volume.transpose(1, 2, 0))[None]
        sides = [
            (start - more, size + 2 * more, have)
            for start, size, more, have in zip(corner, self.patch_size, self.margin, voxels.shape[1:], strict=True)
        ]
        inside = [slice(0, 1), *(slice(max(start, 0), min(start + size, have)) for start, size, have in sides)]
        patch = torch.from_numpy(voxels[tuple(inside)].astype(np.float32))
        beyond = [(max(-start, 0), max(start + size - have, 0)) for start, size, have in sides]
        padding = [voxels for both in reversed(beyond) for voxels in both]
        return functional.pad(patch[None], padding, mode="replicate")[0] if any(padding) else patch

    def _random_corner(self, case: StoredCase, random: np.random.Generator) -> tuple[int, ...]:
        """A patch's slice (in 2-D) and its first voxel along each of its axes; below 0 in a smaller volume."""
        vessel = None
        if self.vessel_share > 0 and random.random() < self.vessel_share:
            vessel = _random_vessel_voxel(case, random)
        corner = []
        for axis, patch in enumerate(self.patch_size):
            room = case.shape[axis] - patch
            start = int(random.integers(max(0, room) + 1))
            if vessel is not None:
                start = min(max(vessel[axis] - patch // 2, 0), max(0, room))
            corner.append(start - max(0, -room) // 2)
        z = int(random.integers(case.shape[2])) if len(corner) == 2 else 0
        return (z if vessel is None else vessel[2], *corner)


def _random_vessel_voxel(case: StoredCase, random: np.random.Generator) -> tuple[int, int, int] | None:
    """A vessel's voxel (x, y, z): a random slice that holds some, and one of these; None if none is found.

    Slices are drawn until one holds vessels: counting a whole volume's voxels would read it all for every patch.
    """
    for _ in range(TRIES):
        z = int(random.integers(case.shape[2]))
        found = np.flatnonzero(case.images[VESSEL][z])
        if len(found):
            x, y = np.unravel_index(found[random.integers(len(found))], case.shape[:2])
            return int(x), int(y), z
    return None


class EpochSampler(DistributedSampler):
    """Names each epoch's samples (epoch, position); a ``DistributedSampler``, so MONAI's engines tell it the epoch.

    Args:
        dataset: what the samples are drawn from.
        samples: samples per epoch, over all processes.
        num_replicas: number of processes.
        rank: which of them this is.
    """

    def __init__(self, dataset: Dataset, samples: int, num_replicas: int = 1, rank: int = 0) -> None:
        self.dataset = dataset
        self.samples = samples
        self.num_replicas = num_replicas
        self.rank = rank
        self.epoch = 0

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Return the keys of this process's samples."""
        return iter([(self.epoch, position) for position in range(self.rank, self.samples, self.num_replicas)])

    def __len__(self) -> int:
        """Return this process's number of samples per epoch."""
        return len(range(self.rank, self.samples, self.num_replicas))


class VolumeDataset(IterableDataset):
    """Volumes of the validation cases; iterable, so that no file is touched before validation starts.

    Args:
        cases: the case list; its validation split is used.
        num_replicas: number of processes that share the cases.
        rank: which of them this is.
        val_slices: slices of a case where not all of it is wanted, in evenly spaced slabs; 0: always all.
        patch_size: that of the training: in 3-D a slab is as deep as a patch.

    Attributes:
        whole: whether all of each case is wanted; whoever validates sets it.
    """

    def __init__(
        self,
        cases: PairedCases,
        num_replicas: int = 1,
        rank: int = 0,
        *,
        val_slices: int = 0,
        patch_size: Sequence[int] = (),
    ) -> None:
        self.cases = cases
        self.num_replicas = num_replicas
        self.rank = rank
        self.val_slices = val_slices
        self.thickness = patch_size[2] if len(patch_size) == 3 else SLAB
        self.whole = True

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield each case: its name, NCCT and CTA (1, X, Y, Z) in HU (int16), and masks 0 or 1 (uint8).

        ``ignore`` is among these only where the case has such a mask. Where not all of it is wanted, its slabs lie one
        after the other along Z, each ``SLAB_DEPTH`` slices deep.
        """
        for case in self.cases.opened(VALIDATION)[self.rank :: self.num_replicas]:
            slabs = [slice(0, case.shape[2])]
            if not self.whole and self.val_slices:
                slabs = evenly_spaced(case.shape[2], self.val_slices, self.thickness)
            kinds = [name for name in (NCCT, CTA, LUNG, VESSEL, BODY, IGNORE) if name in case.images]
            volumes = {name: _slabs_of(case.images[name], slabs) for name in kinds}
            yield {**volumes, CASE: case.name, SLAB_DEPTH: slabs[0].stop - slabs[0].start}

    @staticmethod
    def collate(cases: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """One case as a batch, without copying it: stacking would lay out hundreds of MB anew, across the slices."""
        (case,) = cases
        return {key: value[None] if isinstance(value, torch.Tensor) else [value] for key, value in case.items()}


def _slabs_of(image: np.ndarray, slabs: Sequence[slice]) -> torch.Tensor:
    """Slabs of an image (Z, X, Y), one after the other, as (1, X, Y, Z): still slice by slice in memory."""
    slices = np.concatenate([image[slab] for slab in slabs])
    return torch.from_numpy(slices).permute(1, 2, 0)[None]
