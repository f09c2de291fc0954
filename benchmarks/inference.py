"""What does inference cost beside the network itself, and how much memory does a whole chest take?

    python benchmarks/inference.py                        512 x 512 x 300 voxels, about 5 minutes on 2 cores
    python benchmarks/inference.py --shape 256 256 60     smaller

It prints, with the demo's network:

* wall time of an inference (file in, file out, start-up excluded) / the bare forward passes of the same slices, already
  normalised in memory; the two alternate, and the medians are compared. Wanted: at most 1.25. It can be below 1 on a
  CPU, where inference runs the slices of a batch side by side, and the bare passes each layer on all cores.
* the peak memory above the weights: of a process of its own, its highest resident memory over the whole run (ru_maxrss)
  less its resident memory once the model is loaded. Wanted: at most 1.5 GB for 512 x 512 x 300.
* how long each part took.
"""

from __future__ import annotations

import argparse
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

import nibabel as nib
import numpy as np
import torch
from torch.nn import functional

from ncct_cta.common.hu import to_int16_hu
from ncct_cta.engines import synthesise
from ncct_cta.infer.input_cases import InputCases
from ncct_cta.infer.running import engine_of, run_inference
from ncct_cta.networks import Stages
from ncct_cta.phantom.cohort import make_case, write_cohort
from ncct_cta.runs.trained_model import TrainedModel
from ncct_cta.train.command import main as train
from ncct_cta.volumes.nifti import read_ct
from ncct_cta.volumes.nifti_write import write_like

MOST_TIMES_THE_FORWARD, MOST_GB = 1.25, 1.5
COARSER = 4  # the phantom is drawn so much coarser, in each direction, and interpolated
NOISE_HU = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(512, 512, 300), metavar=("X", "Y", "Z"))
    parser.add_argument("--repeats", type=int, default=3, help="how often both are timed (default: 3)")
    parser.add_argument("--run", default="", help="a trained run (default: the demo's network with random weights)")
    parser.add_argument("--measure-memory", nargs=3, metavar=("RUN", "SCAN", "OUTPUT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    logging.getLogger("ncct_cta").setLevel(logging.WARNING)
    if options.measure_memory:
        print(json.dumps(measure_memory(*options.measure_memory)))
        return
    with tempfile.TemporaryDirectory() as folder:
        run, scan = options.run or untrained_run(Path(folder)), Path(folder) / "chest_ncct.nii.gz"
        write_scan(tuple(options.shape), scan)
        report_time(run, scan, folder, options.repeats)
        report_parts(run, scan, folder)
        report_memory(run, scan, folder)


def untrained_run(folder: Path) -> str:
    """One training step of the demo's network: its weights don't matter here."""
    datalist = write_cohort(folder / "phantom", cases=3, seed=0, shape=(96, 96, 8), spacing=(3.5, 3.5, 32.0))
    steps = ["--train::num_epochs", "1", "--train::steps_per_epoch", "1"]
    train(["g_small", "--data::datalist", str(datalist), "--train::output_dir", str(folder / "g"), *steps])
    return str(folder / "g")


def write_scan(shape: tuple[int, ...], path: Path) -> None:
    """A noisy chest: a coarse phantom, interpolated slab by slab."""
    width, height, depth = (max(24, -(-size // COARSER)) for size in shape)
    spacing = (336 / width, 336 / height, 300 / depth)
    coarse = make_case(0, shape=(width, height, depth), spacing=spacing).ncct
    fine = functional.interpolate(torch.from_numpy(coarse).float()[None, None], size=shape, mode="trilinear")[0, 0]
    random = np.random.default_rng(0)
    hu = np.empty(shape, np.int16)
    for z in range(shape[2]):
        hu[..., z] = to_int16_hu(fine[..., z].numpy() + random.normal(0, NOISE_HU, shape[:2]))
    nib.save(nib.Nifti1Image(hu, np.diag([-336 / shape[0], -336 / shape[1], 300 / shape[2], 1])), path)


def infer(model: TrainedModel, scan: Path, output: str) -> None:
    """What ``python -m ncct_cta.infer`` does once the model is loaded."""
    engine = engine_of(model, InputCases(str(scan)), output, overwrite=True)
    run_inference(engine, model)


@torch.inference_mode()
def forward(model: TrainedModel, batches: list[torch.Tensor]) -> None:
    """The bare forward passes."""
    for batch in batches:
        model.cascade(batch.to(model.device))
    if model.device.type == "cuda":
        torch.cuda.synchronize()


def normalised_batches(model: TrainedModel, scan: Path) -> list[torch.Tensor]:
    """The scan's slices as the network sees them, in the batches that inference makes."""
    ncct = model.inferer.window.normalise(torch.from_numpy(read_ct(scan).array.astype(np.float32)))
    return list(ncct.permute(2, 0, 1)[:, None].contiguous().split(model.inferer.batch_size))


def report_time(run: str, scan: Path, output: str, repeats: int) -> None:
    """Time both by turns: what else the machine does then falls on both."""
    model = TrainedModel(run)
    batches = normalised_batches(model, scan)
    forward(model, batches[:1])
    whole, bare = [], []
    for _ in range(repeats):
        bare.append(seconds(lambda: forward(model, batches)))
        whole.append(seconds(lambda: infer(model, scan, output)))
    wall, cpu = (a / b for a, b in zip(medians(whole), medians(bare), strict=True))
    print(
        f"volume                       {' x '.join(map(str, read_ct(scan).shape))}, {model.device}, "
        f"{torch.get_num_threads()} threads, batches of {model.inferer.batch_size}"
    )
    print(f"inference                    {listed(whole)}")
    print(f"bare forward passes          {listed(bare)}")
    print(f"inference / forward passes   {wall:.2f} (wanted: at most {MOST_TIMES_THE_FORWARD})")
    print(f"the same in CPU seconds      {cpu:.2f} (steadier where other programs want the cores)")


def report_parts(run: str, scan: Path, output: str) -> None:
    """Time each part of one inference by itself; the network is replaced by the identity for what is around it."""
    model = TrainedModel(run)
    start = time.perf_counter()
    volume = read_ct(scan)
    read = time.perf_counter()
    hu = synthesise(volume, Unchanged(model.device), model.inferer)
    around = time.perf_counter()
    write_like(hu, volume, Path(output) / "parts.nii.gz")
    end = time.perf_counter()
    print(f"parts                        read {read - start:.1f} s, around the network {around - read:.1f} s "
          f"(normalise, HU), write {end - around:.1f} s")  # fmt: skip


def report_memory(run: str, scan: Path, output: str) -> None:
    """Measure in a fresh process: this one holds all slices as floats."""
    command = [sys.executable, __file__, "--measure-memory", run, str(scan), output]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    print(f"memory above the weights     {found['above']:.2f} GB (wanted: at most {MOST_GB}); "
          f"{found['loaded']:.2f} GB with the model loaded, {found['peak']:.2f} GB at the peak")  # fmt: skip


def measure_memory(run: str, scan: str, output: str) -> dict[str, float]:
    """Memory in GB with the model loaded, at the peak, and their difference."""
    model = TrainedModel(run)
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
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9


class Unchanged(torch.nn.Module):
    """A cascade without any work."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.where = torch.nn.Parameter(torch.empty(0, device=device))

    def forward(self, ncct: torch.Tensor) -> Stages:
        """Give the NCCT back."""
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
    """The median and all wall times."""
    return f"{medians(times)[0]:.1f} ({', '.join(f'{wall:.1f}' for wall, _ in times)}) s"


if __name__ == "__main__":
    main()
