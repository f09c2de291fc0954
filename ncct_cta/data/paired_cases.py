"""The cases of a case list, decompressed and ready to be drawn from."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import ignite.distributed as idist
from monai.transforms import Compose, Spacingd, Transform
from tqdm.contrib.logging import logging_redirect_tqdm

from ..common.errors import InputError
from ..common.progress import progress_bar
from ..settings import DataConfig
from ..transforms import default_preprocessing, preprocessing_digest
from .cache_building import build_missing
from .case_list import read_case_list
from .cases import DATALIST, Case, shown_path
from .preparation import CasePreprocessing
from .store import VolumeStore
from .stored_case import StoredCase

CACHE_FOLDER = ".ncct_cta_cache"
TRAINING, VALIDATION = "training", "validation"


class PairedCases:
    """The cases of a case list, opened through the volume store on first use.

    Args:
        datalist: a datalist.json or a folder of cases.
        preprocessing: from a case's files to HU and masks on one grid, transform by transform; None:
            ``transforms.default_preprocessing`` with each scan's own spacing. The store is keyed by it.
        cache_dir: the store's folder; empty: ``.ncct_cta_cache`` beside the data.
        val_fraction: fraction of a folder's cases kept for validation.
        seed: seed of that split.
        cache_gb: largest size of the store in GB; 0: no limit.
        cache_jobs: processes that build it; 0: as many as cores and memory allow.
    """

    def __init__(
        self,
        datalist: str,
        *,
        preprocessing: Sequence[Transform] | None = None,
        cache_dir: str = "",
        val_fraction: float = 0.15,
        seed: int = 0,
        cache_gb: float = 0.0,
        cache_jobs: int = 0,
    ) -> None:
        self.datalist = Path(datalist)
        beside = self.datalist.parent if self.datalist.suffix == ".json" else self.datalist
        self.folder = Path(cache_dir) if cache_dir else beside / CACHE_FOLDER
        own = preprocessing is not None
        self.preprocessing = Compose(preprocessing) if own else default_preprocessing(DataConfig())
        self.val_fraction = val_fraction
        self.seed = seed
        self.cache_gb = cache_gb
        self.cache_jobs = cache_jobs
        self._opened: dict[str, list[StoredCase]] = {}

    @functools.cached_property
    def store(self) -> VolumeStore:
        """The decompressed cases.

        Raises:
            InputError: if the preprocessing can't be told from another one, or draws at random.
        """
        key = {"preprocessing": preprocessing_digest(self.preprocessing)}
        return VolumeStore(self.folder, CasePreprocessing(self.preprocessing), key)

    def prepare(self, *splits: str) -> None:
        """Build what the store lacks of these splits, side by side, and open them all.

        Raises:
            InputError: if the case list is wrong, a split is empty, a case's files can't be used, or the store would
                grow beyond ``cache_gb``.
        """
        # Each process of a training has the whole list: they begin with cases of their own.
        build_missing(
            self.store,
            [case for split in splits for case in self._cases(split)],
            spacing=self._spacing(),
            jobs=self.cache_jobs,
            most_gb=self.cache_gb,
            share=(idist.get_rank(), idist.get_world_size()),
        )
        for split in splits:
            self.opened(split)

    def _spacing(self) -> tuple[float, ...] | None:
        """What the preprocessing resamples to, as far as MONAI's transform does it."""
        steps = [step for step in self.preprocessing.flatten().transforms if isinstance(step, Spacingd)]
        return tuple(map(float, steps[-1].spacing_transform.pixdim)) if steps else None

    def opened(self, split: str) -> list[StoredCase]:
        """The cases of ``training``, ``validation`` or ``testing``, decompressed and memory-mapped.

        Raises:
            InputError: if the case list is wrong, the split is empty, or a case's files can't be used.
        """
        if split not in self._opened:
            cases = self._cases(split)
            # Log lines stand above the bar; it is closed before an error's line, which would else stand behind it.
            with (
                logging_redirect_tqdm(),
                progress_bar(cases, desc=f"open {split} cases", unit="case", leave=False) as bar,
            ):
                self._opened[split] = [replace(self.store.open(case), virtual=case.virtual) for case in bar]
            self.store.digests.save()
        return self._opened[split]

    def _cases(self, split: str) -> list[Case]:
        default = Path(DataConfig().datalist)
        if self.datalist == default and not default.exists():
            raise InputError(
                f"data.datalist isn't given, and its default {default} isn't there; set it to a case list or a folder "
                f"of cases, or make phantoms there: python -m ncct_cta.phantom --output {default}"
            )
        splits = read_case_list(self.datalist, val_fraction=self.val_fraction, seed=self.seed)
        return splits[split] or self._refuse_empty(split, splits)

    def _refuse_empty(self, split: str, splits: Mapping[str, Sequence[Case]]) -> NoReturn:
        """Say why a split is empty.

        Raises:
            InputError: always.
        """
        source = shown_path(self.datalist)
        pairs = len(splits[TRAINING]) + len(splits[VALIDATION])
        alone = [case.name for case in splits["testing"] if case.cta is None]
        if alone and not pairs:
            names = ", ".join(alone[:3]) + (", ..." if len(alone) > 3 else "")
            raise InputError(
                f"{source}: its {len(alone)} NCCTs ({names}) have no CTA, and training needs pairs; add the CTA of "
                "each ({case}_cta.nii.gz): python -m ncct_cta.prepare aligns them"
            )
        if self.datalist.is_dir() and not (self.datalist / DATALIST).exists():
            raise InputError(
                f"{source}: of its {pairs} pairs none is left for {split} (data.val_fraction is "
                f"{self.val_fraction:g}); add pairs, or change data.val_fraction"
            )
        raise InputError(f"{source}: no {split} cases; list at least one under {split!r}")
