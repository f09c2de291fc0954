"""What does a cohort's size cost: the cache, the start, open files, memory, validation?

    bash -c 'ulimit -n 256; python benchmarks/scale.py'     about 20 minutes on 2 cores, 1 GB in the temporary folder
    python benchmarks/scale.py --cases 10 100               smaller

Cohorts of 10, 100 and 1,000 small made pairs, each case with files of its own. Each line comes from a process of its
own. It prints for each size:

* the cold start, in which the cache is built: seconds with one process / with two (wanted: at least 1.7 on 2 cores,
  where there is enough to build; a few cases are built by one process, because two would start longer than they work),
* the warm start, in which it is opened: seconds, open files, and the peak memory (wanted for 1,000: at most 10 s and
  200 files, and memory that doesn't grow with the cohort),
* whether a second start changed a file of the cache (wanted: none),
* the hours of a validation of as many whole cases of 512 x 512 x 300, and of 24 slices of each (train.val_slices), from
  the seconds of process time that --validation-seconds gives for one (benchmarks/inference.py --validation).

The start is what a training does before its first step: read the case list, build and open every case.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from multiprocessing import forkserver
from pathlib import Path

import nibabel as nib
import numpy as np

from ncct_cta.data.datasets import SLAB, PatchDataset
from ncct_cta.data.paired_cases import TRAINING, PairedCases
from ncct_cta.phantom.cohort import make_case

SHAPE, SPACING = (96, 96, 32), (3.5, 3.5, 8.0)
TIMES_ONE_PROCESS, MOST_SECONDS, MOST_FILES = 1.7, 10, 200
WHOLE, SLICES = 300, 3 * SLAB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--shape", type=int, nargs=3, default=SHAPE, metavar=("X", "Y", "Z"))
    parser.add_argument(
        "--validation-seconds", type=float, default=60.0, help="process time of validating one case (default: 60)"
    )
    parser.add_argument("--start", nargs=3, metavar=("FOLDER", "CACHE", "JOBS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.start:
        print(json.dumps(start(*options.start)))
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    print(f"pairs of {' x '.join(map(str, options.shape))} voxels; at most {limit} open files allowed; "
          f"{len(os.sched_getaffinity(0))} cores")  # fmt: skip
    memory = {}
    for count in options.cases:
        with tempfile.TemporaryDirectory() as folder:
            memory[count] = report(count, Path(folder), tuple(options.shape), options.validation_seconds)
    least, most = min(memory.values()), max(memory.values())
    print(f"peak memory of the warm starts, largest / smallest cohort: {most / least:.2f}")


def report(count: int, folder: Path, shape: tuple[int, ...], validation_seconds: float) -> float:
    """Print what a cohort of this size costs; return the peak memory of its warm start in MB."""
    write_cohort(folder / "data", count, shape)
    one = started(folder / "data", folder / "one", 1)
    two = started(folder / "data", folder / "two", 2)
    before = files_of(folder / "two")
    warm = started(folder / "data", folder / "two", 2)
    changed = len(set(files_of(folder / "two").items()) ^ set(before.items()))
    alike = names_and_sizes(folder / "one") == names_and_sizes(folder / "two")
    print(f"{count} cases")
    print(f"  cold start           {one['seconds']:.1f} s with one process, {two['seconds']:.1f} s with two: "
          f"{one['seconds'] / two['seconds']:.2f} (wanted: at least {TIMES_ONE_PROCESS} where there is enough to do); "
          f"peak {one['memory']:.0f} and {two['memory']:.0f} MB")  # fmt: skip
    print(f"  what limits          one process used {one['cpu']:.1f} s of CPU, two {two['cpu']:.1f} s, the start of "
          f"others included: on two free cores at most {2 * one['cpu'] / two['cpu']:.2f}")  # fmt: skip
    print(f"  warm start           {warm['seconds']:.2f} s, {warm['cpu']:.2f} s of CPU (wanted: {MOST_SECONDS}), "
          f"{warm['files']} open files (wanted: at most {MOST_FILES}), peak {warm['memory']:.0f} MB")  # fmt: skip
    print(f"  second start         changed {changed} files of the cache; one process and two built the same: {alike}")
    hours = count * validation_seconds / 3600
    print(f"  validation           {hours:.2f} h of process time for whole cases, {hours * SLICES / WHOLE:.2f} h for "
          f"{SLICES} slices of each")  # fmt: skip
    return warm["memory"]


def write_cohort(folder: Path, count: int, shape: tuple[int, ...]) -> None:
    """One phantom, with a voxel of its own in each case, so that no two files are alike."""
    folder.mkdir()
    spacing = tuple(mm * size / own for mm, size, own in zip(SPACING, SHAPE, shape, strict=True))
    case = make_case(0, shape=shape, spacing=spacing)
    images = {"ncct": case.ncct, "cta": case.cta}
    affine = np.diag([*(-spacing[axis] if axis < 2 else spacing[axis] for axis in range(3)), 1.0])
    for number in range(count):
        for kind, hu in images.items():
            hu.flat[0] = -1000 - number % 20
            hu.flat[1] = -1000 - number // 20 % 20
            hu.flat[2] = -1000 - number // 400
            nib.save(nib.Nifti1Image(hu, affine), folder / f"p{number:04d}_{kind}.nii.gz")


def started(folder: Path, cache: Path, jobs: int) -> dict[str, float]:
    """What a start costs, measured by a process of its own."""
    command = [sys.executable, __file__, "--start", str(folder), str(cache), str(jobs)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def start(folder: str, cache: str, jobs: str) -> dict[str, float]:
    """Start as a training does, and draw a sample of each of some cases."""
    before, begun = time.perf_counter(), cpu_seconds()
    cases = PairedCases(folder, cache_dir=cache, cache_jobs=int(jobs))
    dataset = PatchDataset(cases, transforms=[], patch_size=(64, 64))
    dataset.prepare()
    seconds, cpu = time.perf_counter() - before, cpu_seconds() - begun
    for position in range(2 * len(cases.opened(TRAINING))):
        dataset[0, position]
    return {"seconds": seconds, "files": open_files(), "memory": peak_mb(), "cpu": cpu}


def cpu_seconds() -> float:
    """CPU seconds of this process and of those that it started, the fork server's children included."""
    pid = forkserver._forkserver._forkserver_pid
    if pid is None:
        return time.process_time()
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return time.process_time() + sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def open_files() -> int:
    """How many files this process holds open, memory maps included."""
    mapped = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if ".npy" in line}
    return max(len(os.listdir("/proc/self/fd")), len(mapped))


def peak_mb() -> float:
    """The most memory of its own that this process ever held; pages of the cache's files aren't counted."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return (int(fields["VmHWM"].split()[0]) - int(fields["RssFile"].split()[0])) / 1e3


def files_of(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Number, size and time of each file of the cache."""
    found = {}
    for path in sorted(folder.rglob("*")):
        state = path.stat()
        found[str(path)] = (state.st_ino, state.st_size, state.st_mtime_ns)
    return found


def names_and_sizes(folder: Path) -> dict[str, int]:
    """The images of the cache, which are named by their content."""
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*.npy")}


if __name__ == "__main__":
    main()
