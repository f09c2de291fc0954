"""What does loading cost beside the training step, and does a long scan make a slice of it dearer?

    python benchmarks/data_loading.py                     about 2 minutes on 2 cores, 0.5 GB in the temporary folder
    python benchmarks/data_loading.py --preset g_small --threads 2 --num-workers 1

It prints:

* seconds a training step with the real loader / seconds a step on a batch that lies in memory and is augmented already,
  with the demo's network and preset on phantoms. Wanted: at most 1.25. And what augmentation alone adds to that step.
* slices a second of the loader from a volume of 512 x 512 x 300 / from one of 512 x 512 x 30, patches of 256 x 256,
  both decompressed already. Wanted: at least 0.8.
* where a slice's time goes: reading, normalising, the same of the box around it, collating, augmenting.

Both sides of a ratio alternate, block by block, and their medians are compared: what else the machine does falls on
both. Times are the process' own, unless other processes load for it. On a busy machine set OMP_WAIT_POLICY=passive, or
PyTorch's threads wait for each other in loops.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from torch.utils.data import DataLoader, default_collate

from ncct_cta.common.hu import HUWindow
from ncct_cta.common.keys import CTA, LUNG, NCCT
from ncct_cta.data import EpochSampler, PatchDataset
from ncct_cta.data.cases import Case
from ncct_cta.data.store import VolumeStore
from ncct_cta.data.stored_case import StoredCase
from ncct_cta.engines import SynthesisTrainer
from ncct_cta.engines.generator_step import to_device
from ncct_cta.phantom.cohort import write_cohort
from ncct_cta.settings.places import find_config
from ncct_cta.train.builders import build_loader
from ncct_cta.train.workflow import SynthesisWorkflow
from ncct_cta.transforms import RandMovement, ScaleHUWindowd

MOST_TIMES_THE_STEP, LEAST_OF_THE_SHORT_SCAN = 1.25, 0.8
PATCH, IN_PLANE, DEPTHS, BATCH = (256, 256), 512, (300, 30), 8
CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="g_small", help="whose network and loader are timed (default: g_small)")
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch (default: 2)")
    parser.add_argument("--num-workers", type=int, default=None, help="loader processes (default: the preset's)")
    parser.add_argument("--blocks", type=int, default=9, help="how often both sides are timed (default: 9)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.getLogger("ncct_cta").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        report_step(Path(folder), options)
        report_depth(Path(folder), options.blocks)


def report_step(folder: Path, options: argparse.Namespace) -> None:
    """Time training steps on the loader's batches and on one that lies in memory."""
    datalist = write_cohort(folder / "phantom", cases=4, seed=0)
    trainer, dataset, batches = training(options.preset, datalist, folder / "run", options.num_workers)
    endless = forever(batches)
    boxes = next(endless)
    preloaded = to_device(boxes, CPU)

    def steps(draw: Callable[[], Any]) -> Callable[[], None]:
        return lambda: [trainer._iteration(trainer, draw()) for _ in range(10)] and None

    clock = time.perf_counter if batches.num_workers else time.process_time
    loaded, in_memory = alternate(steps(lambda: next(endless)), steps(lambda: preloaded), options.blocks, clock)
    augmented = statistics.median(timed(lambda: to_device(boxes, CPU)) for _ in range(options.blocks))
    ratio = statistics.median(loaded) / statistics.median(in_memory)
    size = " x ".join(map(str, preloaded[NCCT].shape))
    print(f"training                        {options.preset}, batches of {size}, {torch.get_num_threads()} threads, "
          f"{batches.num_workers} loader processes")  # fmt: skip
    print(f"10 steps with the loader        {listed(loaded)} s")
    print(f"10 steps on a batch in memory   {listed(in_memory)} s")
    print(f"with the loader / in memory     {ratio:.2f} (wanted: at most {MOST_TIMES_THE_STEP})")
    print(f"augmentation / step in memory   {10 * augmented / statistics.median(in_memory):.3f}")
    print(f"a slice's time                  {split_time(dataset)}")


def training(
    preset: str, datalist: Path, output: Path, num_workers: int | None
) -> tuple[SynthesisTrainer, PatchDataset, DataLoader]:
    """The trainer, the dataset and the loader that a preset builds."""
    content = ConfigParser.load_config_file(find_config(preset))
    content.pop("workflow_name")
    places: dict[str, Any] = {"data::datalist": str(datalist), "train::output_dir": str(output)}
    if num_workers is not None:
        places["data::num_workers"] = num_workers
    workflow = SynthesisWorkflow(**content, **places, logging_file=False)
    workflow.initialize()
    names = ("train::trainer", "train::dataset", "train::dataloader")
    trainer, dataset, batches = (workflow.parser.get_parsed_content(name) for name in names)
    dataset.prepare()
    # Steps are timed outside of a run, so nothing listens: only the step itself counts.
    trainer._event_handlers.clear()
    return trainer, dataset, batches


def report_depth(folder: Path, blocks: int) -> None:
    """Time the loader on a long and on a short scan, already in the store."""
    loaders = [stored_loader(folder, depth) for depth in DEPTHS]
    drawn = [forever(batches) for batches in loaders]

    def batches_of(draw: Iterator[Any]) -> Callable[[], None]:
        return lambda: [next(draw) for _ in range(10)] and None

    long, short = alternate(batches_of(drawn[0]), batches_of(drawn[1]), blocks, time.process_time)
    rates = [10 * BATCH / statistics.median(seconds) for seconds in (long, short)]
    patch = " x ".join(map(str, PATCH))
    print(f"loader                          patches of {patch} from {IN_PLANE} x {IN_PLANE}, no process beside")
    for depth, rate, batches in zip(DEPTHS, rates, loaders, strict=True):
        print(f"slices a second, {depth:3} slices     {rate:.0f}; a slice's time: {split_time(batches.dataset)}")
    ratio = rates[0] / rates[1]
    print(f"{DEPTHS[0]} slices / {DEPTHS[1]} slices          {ratio:.2f} (wanted: at least {LEAST_OF_THE_SHORT_SCAN})")


def stored_loader(folder: Path, depth: int) -> DataLoader:
    """A loader over one scan of noise in the store, every page of it in memory."""

    def prepare(case: Case) -> tuple[dict[str, np.ndarray], np.ndarray]:
        random = np.random.default_rng(depth)
        ncct = random.integers(-1000, 1000, (IN_PLANE, IN_PLANE, depth), np.int16)
        return {NCCT: ncct, CTA: ncct + np.int16(50), LUNG: (ncct > 0).astype(np.uint8)}, np.eye(4)

    content = folder / f"scan{depth}"
    content.write_text(str(depth))
    stored = VolumeStore(folder / "store", prepare, {}).open(Case(f"scan{depth}", content))
    for image in stored.images.values():
        image.max()
    cases: Any = SimpleNamespace(opened=lambda split: [stored])
    transforms = [ScaleHUWindowd((NCCT, CTA), HUWindow(-1000.0, 1000.0)), RandMovement()]
    dataset = PatchDataset(cases, transforms=transforms, patch_size=PATCH)
    sampler = EpochSampler(dataset, 10 * BATCH)
    return build_loader(dataset, CPU, batch_size=BATCH, sampler=sampler)


def forever(batches: DataLoader) -> Iterator[Any]:
    """Epoch after epoch."""
    for epoch in itertools.count(1):
        batches.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        yield from batches


def split_time(dataset: PatchDataset, samples: int = 80) -> str:
    """Where the time of a slice goes, in milliseconds: each part by itself."""
    keys = [(0, position) for position in range(samples)]
    scale = dataset.transform.transforms[0]
    plain = PatchDataset(dataset.cases, transforms=[scale], patch_size=dataset.patch_size)
    raw = RawPatches(plain)
    whole, unaugmented, read = (
        timed(lambda source=source: [source[key] for key in keys]) for source in (dataset, plain, raw)
    )
    batch = [dataset[key] for key in keys[:BATCH]]
    collate = timed(lambda: [default_collate(batch) for _ in range(samples // BATCH)])
    augment = timed(lambda: [to_device(default_collate(batch), CPU) for _ in range(samples // BATCH)]) - collate
    parts = {"read": read, "normalise": unaugmented - read, "box": whole - unaugmented}
    parts |= {"collate": collate, "augment": augment}
    return ", ".join(f"{name} {1000 * max(0.0, value) / samples:.2f} ms" for name, value in parts.items())


class RawPatches:
    """A dataset's reads alone: the same voxels, copied out of the memory map."""

    def __init__(self, dataset: PatchDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, key: tuple[int, int]) -> list[torch.Tensor]:
        random = np.random.default_rng((self.dataset.seed, *key))
        cases: list[StoredCase] = self.dataset.cases.opened("training")
        case = cases[random.integers(len(cases))]
        z, *corner = self.dataset._random_corner(case, random)
        return [self.dataset._cut(case.images[name], z, corner) for name in (NCCT, CTA, LUNG)]


def alternate(
    one: Callable[[], None], other: Callable[[], None], blocks: int, clock: Callable[[], float]
) -> tuple[list[float], list[float]]:
    """Seconds of each block, by turns, after a block of each that isn't counted."""
    one(), other()
    seconds = [(timed(one, clock), timed(other, clock)) for _ in range(blocks)]
    return [first for first, _ in seconds], [second for _, second in seconds]


def timed(work: Callable[[], Any], clock: Callable[[], float] = time.process_time) -> float:
    start = clock()
    work()
    return clock() - start


def listed(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.3f} ({min(seconds):.3f} to {max(seconds):.3f})"


if __name__ == "__main__":
    main()
