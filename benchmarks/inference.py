"""What does inference cost beside the network itself, and how much memory does a whole chest take?

    python benchmarks/inference.py                        512 x 512 x 300 voxels, about 10 minutes on 2 cores
    python benchmarks/inference.py --shape 256 256 60     smaller
    python benchmarks/inference.py --net full --scan chest.nii.gz --every 10 --repeats 1
                                                          the full-size G on a real chest, about 5 minutes
    python benchmarks/inference.py --validation --shape 512 512 30 --norm instance
                                                          the validation of a case beside its inference

For PyTorch, and for OpenVINO where it is installed, it prints:

* inference (file in, file out, start-up excluded) / the bare forward passes of PyTorch over the same whole slices,
  already normalised in memory. Both in CPU seconds, which other programs disturb least, and in wall seconds. It can be
  below 1: inference computes the body alone.
* what the networks saw of each slice, in pixels: the least that the ratio can be, times what an engine needs for one.
* the largest difference between the two engines, in HU.
* the peak memory above the weights: of a process of its own, its highest resident memory over the whole run less
  its resident memory once the model is loaded.

With --validation it prints instead the CPU seconds of validating the scan as a training does (decompressed, with loss
and errors), and their ratio to those of its inference in PyTorch, file in and file out. Target: at most 1.2.

Targets: the small network at most 1.25 times the bare forward passes; the full-size G at most 0.75 with PyTorch and
0.55 with OpenVINO; 1.5 GB above the weights for 512 x 512 x 300 voxels; the engines equal within 1 HU. The weights are
random: they don't matter here. With instance norm, the default, the network sees windows of the training patch's size,
which overlap by a quarter; with batch norm it sees the body's box in one piece.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import json
import logging
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ncct_cta.common import keys
from ncct_cta.common.hu import AIR_HU, to_int16_hu
from ncct_cta.data import VolumeDataset
from ncct_cta.data.cases import Case
from ncct_cta.data.store import VolumeStore
from ncct_cta.engines import SynthesisEvaluator, synthesise
from ncct_cta.infer.input_cases import InputCases
from ncct_cta.infer.running import engine_of, run_inference
from ncct_cta.losses.builders import build_reconstruction
from ncct_cta.networks import Stages
from ncct_cta.phantom.cohort import make_case, write_cohort
from ncct_cta.runs.trained_model import TrainedModel
from ncct_cta.settings import DataConfig, LossConfig, ModelConfig
from ncct_cta.train.builders import build_loader
from ncct_cta.train.command import main as train
from ncct_cta.volumes.nifti import read_ct
from ncct_cta.volumes.nifti_write import write_like

PRESETS = {"small": "g_small", "full": "g"}
TARGETS = {"small": {"torch": 1.25, "openvino": 1.25}, "full": {"torch": 0.75, "openvino": 0.55}}
MOST_GB, MOST_HU, VALIDATION = 1.5, 1, 1.2
ENGINES = ("torch", "openvino") if importlib.util.find_spec("openvino") else ("torch",)
BATCH_SIZE = 4
COARSER = 4  # the phantom is drawn so much coarser, in each direction, and interpolated
NOISE_HU = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(512, 512, 300), metavar=("X", "Y", "Z"))
    parser.add_argument("--scan", default="", help="a chest CT, resampled to the shape (default: a phantom)")
    parser.add_argument("--every", type=int, default=1, help="time each Nth slice alone (default: all)")
    parser.add_argument("--net", choices=PRESETS, nargs="+", default=["small"])
    parser.add_argument("--norm", choices=("instance", "batch"), nargs="+", default=["instance", "batch"])
    parser.add_argument("--validation", action="store_true", help="time a case's validation beside its inference")
    parser.add_argument("--repeats", type=int, default=3, help="how often all are timed (default: 3)")
    parser.add_argument(
        "--measure-memory", nargs=4, metavar=("RUN", "SCAN", "OUTPUT", "ENGINE"), help=argparse.SUPPRESS
    )
    options = parser.parse_args()
    logging.getLogger("ncct_cta").setLevel(logging.WARNING)
    if options.measure_memory:
        print(json.dumps(measure_memory(*options.measure_memory)))
        return
    with tempfile.TemporaryDirectory() as folder:
        timed, whole = Path(folder) / "timed_ncct.nii.gz", Path(folder) / "whole_ncct.nii.gz"
        write_scans(tuple(options.shape), options.scan, options.every, timed, whole)
        print(f"volume      {' x '.join(map(str, options.shape))}, of which each {options.every}. slice is timed; "
              f"{torch.get_num_threads()} threads, batches of {BATCH_SIZE}")  # fmt: skip
        report_parts(timed, folder)
        for net in options.net:
            for norm in options.norm:
                run = untrained_run(Path(folder), net, norm)
                if options.validation:
                    report_validation(run, net, norm, timed, folder, options.repeats)
                    continue
                report(run, net, norm, timed, folder, options.repeats)
                for engine in ENGINES:
                    report_memory(run, whole, folder, engine)


def untrained_run(folder: Path, net: str, norm: str) -> str:
    """One training step, of a single patch: the weights don't matter here."""
    phantom, run = folder / "phantom", str(folder / f"{net}_{norm}")
    if not phantom.exists():
        write_cohort(phantom, cases=3, seed=0, shape=(96, 96, 8), spacing=(3.5, 3.5, 32.0))
    steps = ["--train::num_epochs", "1", "--train::steps_per_epoch", "1", "--train::batch_size", "1"]
    words = ["--data::datalist", str(phantom), "--data::num_workers", "0", "--train::output_dir", run]
    train([PRESETS[net], *words, *steps, "--model::norm", norm])
    return run


def write_scans(shape: tuple[int, ...], scan: str, every: int, timed: Path, whole: Path) -> None:
    """The slices that are timed, close together; and the whole volume, in which they are the only ones with a body."""
    hu = real_chest(scan, shape) if scan else phantom_chest(shape)
    affine = np.diag([-336 / shape[0], -336 / shape[1], 300 / shape[2], 1])
    nib.save(nib.Nifti1Image(np.ascontiguousarray(hu[..., ::every]), affine), timed)
    rest = np.arange(shape[2]) % every > 0
    hu[..., rest] = AIR_HU
    nib.save(nib.Nifti1Image(hu, affine), whole)


def real_chest(scan: str, shape: tuple[int, ...]) -> np.ndarray:
    """A scan's own slices where its matrix is the one wanted, interpolated along Z; else interpolated in all."""
    found = torch.from_numpy(np.asarray(read_ct(Path(scan)).array, np.float32))[None, None]
    return to_int16_hu(functional.interpolate(found, size=shape, mode="trilinear", align_corners=True)[0, 0].numpy())


def phantom_chest(shape: tuple[int, ...]) -> np.ndarray:
    """A noisy chest: a coarse phantom, interpolated slab by slab."""
    width, height, depth = (max(24, -(-size // COARSER)) for size in shape)
    spacing = (336 / width, 336 / height, 300 / depth)
    coarse = make_case(0, shape=(width, height, depth), spacing=spacing).ncct
    fine = functional.interpolate(torch.from_numpy(coarse).float()[None, None], size=shape, mode="trilinear")[0, 0]
    random = np.random.default_rng(0)
    hu = np.empty(shape, np.int16)
    for z in range(shape[2]):
        hu[..., z] = to_int16_hu(fine[..., z].numpy() + random.normal(0, NOISE_HU, shape[:2]))
    return hu


def infer(model: TrainedModel, scan: Path, output: str) -> None:
    """What ``python -m ncct_cta.infer`` does once the model is loaded."""
    run_inference(engine_of(model, InputCases(str(scan)), output, overwrite=True), model)


@torch.inference_mode()
def forward(model: TrainedModel, batches: list[torch.Tensor]) -> None:
    """The bare forward passes."""
    for batch in batches:
        model.cascade(batch.to(model.device))
    if model.device.type == "cuda":
        torch.cuda.synchronize()


def normalised_batches(model: TrainedModel, scan: Path) -> list[torch.Tensor]:
    """The scan's slices as the network sees them, in batches."""
    ncct = model.inferer.window.normalise(torch.from_numpy(read_ct(scan).array.astype(np.float32)))
    return list(ncct.permute(2, 0, 1)[:, None].contiguous().split(BATCH_SIZE))


def report(run: str, net: str, norm: str, scan: Path, output: str, repeats: int) -> None:
    """Time all by turns: what else the machine does then falls on all of them."""
    models = {engine: TrainedModel(run, engine=engine, batch_size=BATCH_SIZE) for engine in ENGINES}
    for parameter in models["torch"].cascade.parameters():  # or a zero network would agree with anything
        nn.init.normal_(parameter, std=0.02)
    models |= {"openvino": in_openvino(models["torch"])} if "openvino" in models else {}
    bare_model = models["torch"]
    batches = normalised_batches(bare_model, scan)
    forward(bare_model, batches[:1])
    bare: list[tuple[float, float]] = []
    whole: dict[str, list[tuple[float, float]]] = {engine: [] for engine in models}
    hu = {}
    for _ in range(repeats):
        bare.append(seconds(lambda: forward(bare_model, batches)))
        for engine, model in models.items():
            whole[engine].append(seconds(lambda model=model: infer(model, scan, output)))  # type: ignore[misc]
            hu[engine] = nib.load(next(Path(output).glob("*_syncta.nii.gz"))).get_fdata()
    pixels = seen_pixels(bare_model, scan) / sum(batch.numel() for batch in batches)
    print(f"{net} network, {norm} norm")
    print(f"  pixels that the network sees / pixels of the slices    {pixels:.2f}")
    print(f"  bare forward passes      {listed(bare)}")
    for engine, times in whole.items():
        wall, cpu = (a / b for a, b in zip(medians(times), medians(bare), strict=True))
        print(f"  {engine:8} inference       {listed(times)}")
        print(f"  {engine:8} / bare passes   {cpu:.2f} of the CPU's time, {wall:.2f} of the wall's "
              f"(wanted: at most {TARGETS[net][engine]})")  # fmt: skip
    if len(hu) > 1:
        difference = np.abs(hu["torch"] - hu["openvino"]).max()
        print(f"  difference               {difference:.0f} HU (wanted: at most {MOST_HU})")


def report_validation(run: str, net: str, norm: str, scan: Path, output: str, repeats: int) -> None:
    """Time validation and inference by turns, and the parts that validation has beside the network by themselves."""
    model = TrainedModel(run, engine="torch", batch_size=BATCH_SIZE)
    for parameter in model.cascade.parameters():
        nn.init.normal_(parameter, std=0.02)
    evaluator = evaluator_of(model, scan, output)
    times: dict[str, list[tuple[float, float]]] = {"inference": [], "validation": []}
    for _ in range(repeats):
        times["inference"].append(seconds(lambda: infer(model, scan, output)))
        times["validation"].append(seconds(evaluator.run))
    evaluator.network = Unchanged(model.device)
    around = seconds(evaluator.run)[1]
    (_, inferred), (_, validated) = (medians(found) for found in times.values())
    print(f"{net} network, {norm} norm")
    for name, found in times.items():
        print(f"  {name:24} {listed(found)}")
    print(f"  validation / inference   {validated / inferred:.2f} of the CPU's time (wanted: at most {VALIDATION})")
    print(f"  what limits              {around:.1f} s of CPU around the network: reading, its box, loss and errors")


def evaluator_of(model: TrainedModel, scan: Path, folder: str) -> SynthesisEvaluator:
    """The evaluator of a training over one made pair: the scan, and the scan with contrast in its tissue."""
    ncct = read_ct(scan).array
    tissue, air = ncct > 20, ncct < -500
    images = {keys.NCCT: ncct, keys.CTA: ncct + np.int16(100) * tissue, keys.LUNG: air, keys.VESSEL: tissue}
    images = {key: image if image.dtype == np.int16 else image.astype(np.uint8) for key, image in images.items()}
    images[keys.BODY] = 1 - images[keys.LUNG]
    stored = VolumeStore(Path(folder) / "store", lambda case: (images, np.eye(4)), {}).open(Case("scan", scan))
    cases: Any = SimpleNamespace(opened=lambda split: [stored])
    return SynthesisEvaluator(
        device=model.device,
        val_data_loader=build_loader(VolumeDataset(cases), model.device),
        network=model.cascade,
        inferer=model.inferer,
        loss_function=build_reconstruction(DataConfig(), ModelConfig(), LossConfig()),
    )


def in_openvino(model: TrainedModel) -> TrainedModel:
    """The same model, run by OpenVINO."""
    twin = copy.copy(model)
    twin.engine = "openvino"
    twin._run_in_openvino()
    return twin


def seen_pixels(model: TrainedModel, scan: Path) -> int:
    """How many pixels the forward passes of an inference cover."""
    counting = Unchanged(model.device)
    synthesise(read_ct(scan), counting, model.inferer)
    return counting.pixels


def report_parts(scan: Path, output: str) -> None:
    """Time each part of one inference by itself; the network is replaced by the identity for what is around it."""
    model = TrainedModel()
    start = time.process_time()
    volume = read_ct(scan)
    read = time.process_time()
    hu = synthesise(volume, Unchanged(model.device), model.inferer)
    around = time.process_time()
    write_like(hu, volume, Path(output) / "parts.nii.gz")
    end = time.process_time()
    print(f"parts       read {read - start:.1f} s, around the network {around - read:.1f} s (the body's box, windows, "
          f"HU), write {end - around:.1f} s of CPU")  # fmt: skip


def report_memory(run: str, scan: Path, output: str, engine: str) -> None:
    """Measure in a fresh process: this one holds all slices as floats."""
    command = [sys.executable, __file__, "--measure-memory", run, str(scan), output, engine]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    print(f"  {engine:8} memory above the weights   {found['above']:.2f} GB (wanted: at most {MOST_GB}); "
          f"{found['loaded']:.2f} GB with the model loaded, {found['peak']:.2f} GB at the peak")  # fmt: skip


def measure_memory(run: str, scan: str, output: str, engine: str) -> dict[str, float]:
    """Memory in GB with the model loaded, at the peak, and their difference."""
    model = TrainedModel(run, engine=engine, batch_size=BATCH_SIZE)
    loaded = resident_gb()
    infer(model, Path(scan), output)
    peak = peak_gb()
    return {"loaded": loaded, "peak": peak, "above": peak - loaded}


def resident_gb() -> float:
    """The memory that this process holds now; where the system doesn't tell, the most it ever held."""
    status = Path("/proc/self/statm")
    if not status.exists():
        return peak_gb()
    return int(status.read_text().split()[1]) * resource.getpagesize() / 1e9


def peak_gb() -> float:
    """The most memory that this process ever held; ru_maxrss is in kilobytes on Linux, in bytes on macOS."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux's ru_maxrss begins with that of the process that started this one
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9


class Unchanged(torch.nn.Module):
    """A cascade without any work."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.where = torch.nn.Parameter(torch.empty(0, device=device))
        self.pixels = 0

    def forward(self, ncct: torch.Tensor) -> Stages:
        """Give the NCCT back."""
        self.pixels += ncct.numel()
        return Stages(ncct, ncct, ncct)


def seconds(work: Callable[[], None]) -> tuple[float, float]:
    """Wall and CPU seconds of some work."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def medians(times: list[tuple[float, float]]) -> tuple[float, float]:
    """The medians of wall and CPU seconds."""
    wall, cpu = zip(*times, strict=True)
    return statistics.median(wall), statistics.median(cpu)


def listed(times: list[tuple[float, float]]) -> str:
    """The median and all CPU times, and the median wall time."""
    wall, cpu = medians(times)
    return f"{cpu:.1f} ({', '.join(f'{one:.1f}' for _, one in times)}) s of CPU, {wall:.1f} s of wall time"


if __name__ == "__main__":
    main()
