"""What does a training step cost beside the bare forward pass, backward pass and optimiser's step?

    python benchmarks/step.py                        the small network, 96 x 96, batch 8: a minute on 2 cores
    python benchmarks/step.py --net full             the full-size G, 256 x 256, batch 8: 10 minutes
    python benchmarks/step.py --net full --batch-size 2 --steps 2 --blocks 1
    python benchmarks/step.py --compile              and the bare step of a compiled network (train.compile)

The step with everything is the engine's: clipped gradients, checks that they are finite, the moving average of the
weights, diagnostics, metrics and their file, the progress bar. The bare step is the same network, loss and optimiser in
a loop of five lines. Batches lie in memory ready-made: benchmarks/data_loading.py measures what loading and
augmentation add. Both run in blocks by turns, and CPU seconds are compared, which other programs disturb least. Target:
at most 1.10 times.

It also prints what a part costs by itself, which says what limits.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import DataLoader

from ncct_cta.common import keys
from ncct_cta.engines import SynthesisTrainer
from ncct_cta.handlers import (
    AveragedNetwork,
    DiagnosticsHandler,
    DiscriminatorHealthHandler,
    EMAHandler,
    MetricsLogHandler,
    ProgressBarHandler,
)
from ncct_cta.losses.builders import build_objective, build_reconstruction
from ncct_cta.networks.builders import build_cascade, build_generator
from ncct_cta.settings import DataConfig, LossConfig, ModelConfig, RefineConfig, RegistrationConfig, TrainConfig
from ncct_cta.train.builders import build_update
from ncct_cta.train.compiling import compile_networks

MOST_TIMES_THE_BARE_STEP = 1.10
NETWORKS = {
    "small": (ModelConfig(channels=(16, 32, 64, 128), num_res_units=1), 96),
    "full": (ModelConfig(), 256),
}
CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", choices=NETWORKS, default="small")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20, help="steps a block (default: 20)")
    parser.add_argument("--blocks", type=int, default=3, help="blocks of each (default: 3)")
    parser.add_argument("--compile", action="store_true", help="also time the bare step of a compiled network")
    options = parser.parse_args()
    logging.disable(logging.INFO)
    model, side = NETWORKS[options.net]
    batch = random_batch(options.batch_size, side)
    with tempfile.TemporaryDirectory() as folder:
        everything = Everything(model, [batch] * options.steps, folder)
        bare = Bare(model, batch, options.steps)
        everything.run()  # first steps allocate
        bare.run()
        times: dict[str, list[float]] = {"everything": [], "bare": []}
        for _ in range(options.blocks):
            times["bare"].append(cpu_seconds(bare.run) / options.steps)
            times["everything"].append(cpu_seconds(everything.run) / options.steps)
        report(options, side, times)
        report_parts(everything, bare)
        if options.compile:
            report_compiled(bare, Bare(model, batch, options.steps), options.blocks)


def random_batch(count: int, side: int) -> dict[str, Any]:
    """A batch as the loader gives it."""
    generator = torch.Generator().manual_seed(0)
    ncct, change = (2 * torch.rand(count, 1, side, side, generator=generator) - 1 for _ in range(2))
    lung = (torch.rand(ncct.shape, generator=generator) > 0.7).float()
    return {keys.NCCT: ncct, keys.CTA: 0.9 * ncct + 0.1 * change, keys.LUNG: lung, keys.CASE: ["case"] * count}


class Everything:
    """The trainer with all that a training attaches to it."""

    def __init__(self, model: ModelConfig, batches: list[dict[str, Any]], folder: str) -> None:
        torch.manual_seed(0)
        self.network = build_cascade(build_generator(model), None, RefineConfig(), CPU)
        self.average = AveragedNetwork(self.network)
        reconstruction = build_reconstruction(DataConfig(), model, LossConfig())
        configs: dict[str, Any] = {"refine": RefineConfig(), "registration": RegistrationConfig()}
        self.trainer = SynthesisTrainer(
            device=CPU,
            max_epochs=0,
            train_data_loader=DataLoader(batches, batch_size=None),  # type: ignore[arg-type]
            network=self.network,
            objective=build_objective(DataConfig(), LossConfig(), reconstruction, RegistrationConfig()),
            update=build_update(self.network, None, train=TrainConfig(steps_per_epoch=len(batches)), **configs),
            train_handlers=[
                EMAHandler(self.average),
                DiagnosticsHandler(),
                DiscriminatorHealthHandler(),
                MetricsLogHandler(folder),
                ProgressBarHandler(),
            ],
        )

    def run(self) -> None:
        """An epoch."""
        self.trainer.state.max_epochs = (self.trainer.state.max_epochs or 0) + 1
        self.trainer.run()


class Bare:
    """Forward pass, loss, backward pass, the optimiser's step, and no more."""

    def __init__(self, model: ModelConfig, batch: dict[str, Any], steps: int) -> None:
        torch.manual_seed(0)
        self.network = build_cascade(build_generator(model), None, RefineConfig(), CPU).train()
        self.loss = build_reconstruction(DataConfig(), model, LossConfig())
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=1e-4, weight_decay=0.0)
        self.images = batch[keys.NCCT], batch[keys.CTA], batch[keys.LUNG]
        self.steps = steps

    def run(self) -> None:
        """As many steps as an epoch has."""
        ncct, cta, lung = self.images
        for _ in range(self.steps):
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.loss(self.network(ncct).refined, cta, lung)[keys.LOSS]
            loss.backward()
            self.optimizer.step()


def report(options: argparse.Namespace, side: int, times: dict[str, list[float]]) -> None:
    """Print the ratio of the medians, and all times."""
    median = {name: statistics.median(values) for name, values in times.items()}
    print(f"{options.net} network, {side} x {side}, batch {options.batch_size}, {torch.get_num_threads()} threads; "
          f"CPU seconds a step, {options.steps} steps a block")  # fmt: skip
    for name, values in times.items():
        print(f"{name:12} {median[name]:.3f} ({', '.join(f'{value:.3f}' for value in values)})")
    print(
        f"everything / bare: {median['everything'] / median['bare']:.2f} (wanted: at most {MOST_TIMES_THE_BARE_STEP})"
    )


def report_parts(everything: Everything, bare: Bare) -> None:
    """Print what the largest parts cost by themselves."""
    parameters = list(bare.network.parameters())
    ncct, cta, lung = bare.images

    def clip() -> None:
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)

    def loss() -> None:
        prediction = ncct.clone().requires_grad_()
        bare.loss(prediction, cta, lung)[keys.LOSS].backward()

    loss_seconds, clip_seconds = cpu_seconds(loss), cpu_seconds(clip)
    average_seconds = cpu_seconds(everything.average.update)
    print(f"of these: loss with its backward pass {loss_seconds:.3f} (in both), moving average {average_seconds:.3f}, "
          f"clipping {clip_seconds:.3f}")  # fmt: skip


def report_compiled(bare: Bare, compiled: Bare, blocks: int) -> None:
    """Print the bare step of a compiled network beside that of a plain one, and what compiling takes."""
    compile_networks(compiled.network.get_submodule("generator.net"))
    start = time.perf_counter()
    first = cpu_seconds(compiled.run)
    wall = time.perf_counter() - start
    pairs = [(cpu_seconds(bare.run), cpu_seconds(compiled.run)) for _ in range(blocks)]
    plain, faster = (statistics.median(each) / bare.steps for each in zip(*pairs, strict=True))
    print(f"bare step, compiled: {faster:.3f}, {faster / plain:.2f} of the plain {plain:.3f}; "
          f"the first {bare.steps} took {wall:.0f} s, {first:.0f} s of them in this process")  # fmt: skip


def cpu_seconds(work: Callable[[], None]) -> float:
    """CPU seconds of some work."""
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    main()
