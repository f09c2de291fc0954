"""Datasets over the stored cases: random patches for training, whole volumes for validation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose, Transform
from torch.nn import functional
from torch.utils.data import Dataset, DistributedSampler, IterableDataset

from ..common.keys import BODY, CASE, CTA, LUNG, NCCT, VESSEL
from .paired_cases import TRAINING, VALIDATION, PairedCases
from .stored_case import StoredCase


class PatchDataset(Dataset):
    """Random axial slices (2-D) or patches (3-D) of the training cases, cropped and augmented.

    An item is a pure function of (seed, epoch, position): neither the order of the workers nor an interruption changes
    it.

    Args:
        cases: the case list; its training split is used.
        transforms: from a patch in HU to what the network sees: scaled to [-1, 1] and, if wanted, moved at random.
        patch_size: (X, Y) or (X, Y, Z) in voxels.
        seed: seed of all random draws.
        masks: the stored masks that a sample has beside NCCT and CTA.
    """

    def __init__(
        self,
        cases: PairedCases,
        *,
        transforms: Sequence[Transform],
        patch_size: Sequence[int],
        seed: int = 0,
        masks: Sequence[str] = (LUNG,),
    ) -> None:
        self.cases = cases
        self.transform = Compose(transforms)
        self.patch_size = tuple(patch_size)
        self.seed = seed
        self.sampled = (NCCT, CTA, *masks)

    def prepare(self) -> None:
        """Open every case, those of the validation too.

        Raises:
            InputError: if a case can't be used.
        """
        for split in (TRAINING, VALIDATION):
            self.cases.opened(split)

    def __len__(self) -> int:
        """The number of axial slices in all cases."""
        return sum(case.shape[2] for case in self.cases.opened(TRAINING))

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        """Draw the sample of (epoch, position): images (1, *patch_size), masks 0 or 1; see ``transforms``."""
        cases = self.cases.opened(TRAINING)
        random = np.random.default_rng((self.seed, *key))
        case = cases[random.integers(len(cases))]
        box = self._random_box(case, random)
        images = {name: self._padded(self._cut(case.images[name], box)) for name in self.sampled}
        self.transform.set_random_state(seed=int(random.integers(2**31)))
        moved = self.transform(images)
        # Plain tensors: MONAI's MetaTensors carry a history that would slow down every operation of the network.
        return {**{name: moved[name].as_subclass(torch.Tensor) for name in self.sampled}, CASE: case.name}

    @staticmethod
    def _cut(volume: np.ndarray, box: tuple) -> torch.Tensor:
        """A patch of a stored image, (1, X, Y) or (1, X, Y, Z)."""
        voxels = volume[box]  # (Z, X, Y) or, for a slice, (X, Y)
        if voxels.ndim == 3:
            voxels = voxels.transpose(1, 2, 0)
        return torch.from_numpy(voxels[None].astype(np.float32))

    def _padded(self, patch: torch.Tensor) -> torch.Tensor:
        """Fill up a patch of a volume that is smaller: its edges are repeated around it, as inference does."""
        missing = [size - have for size, have in zip(self.patch_size, patch.shape[1:], strict=True)]
        if not any(missing):
            return patch
        padding = [part for less in reversed(missing) for part in (less // 2, less - less // 2)]
        return functional.pad(patch[None], padding, mode="replicate")[0]

    def _random_box(self, case: StoredCase, random: np.random.Generator) -> tuple:
        room = (max(0, size - patch) for size, patch in zip(case.shape, self.patch_size, strict=False))
        corner = [random.integers(voxels + 1) for voxels in room]
        box = [slice(start, start + patch) for start, patch in zip(corner, self.patch_size, strict=True)]
        if len(box) == 2:
            return (random.integers(case.shape[2]), *box)
        return (box[2], box[0], box[1])


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
    """Whole volumes of the validation cases; iterable, so that no file is touched before validation starts.

    Args:
        cases: the case list; its validation split is used.
        num_replicas: number of processes that share the cases.
        rank: which of them this is.
    """

    def __init__(self, cases: PairedCases, num_replicas: int = 1, rank: int = 0) -> None:
        self.cases = cases
        self.num_replicas = num_replicas
        self.rank = rank

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield each case: its name, NCCT and CTA (1, X, Y, Z) in HU (int16), and masks 0 or 1 (uint8)."""
        for case in self.cases.opened(VALIDATION)[self.rank :: self.num_replicas]:
            volumes = {
                name: torch.from_numpy(np.moveaxis(np.array(case.images[name]), 0, -1)[None])
                for name in (NCCT, CTA, LUNG, VESSEL, BODY)
            }
            yield {**volumes, CASE: case.name}
