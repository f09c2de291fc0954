"""``python -m tests.campaigns --cases 2000 --kills 200 --seed 1``: exit status 1 if anything was found."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

import torch

import ncct_cta.demo.outcome
import ncct_cta.evaluate.evaluation
import ncct_cta.infer.running
import ncct_cta.prepare.pairs.all_pairs
import ncct_cta.prepare.scan.listing
import ncct_cta.train.workflow  # noqa: F401, what the forks will need

from .cases import run_case
from .findings import Findings
from .kills import Kills
from .material import make
from .small_disk import fill


def main() -> int:
    """Run a campaign, or one case of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns", description=__doc__)
    parser.add_argument("--cases", type=int, default=100, help="damaged inputs (default: 100)")
    parser.add_argument("--kills", type=int, default=10, help="commands stopped at random moments (default: 10)")
    parser.add_argument("--disks", type=int, default=10, help="commands on a disk that fills up (default: 10)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed damages the same (default: 0)")
    for kind in ("case", "kill", "disk"):
        parser.add_argument(f"--{kind}", type=int, metavar="N", help=f"only {kind} N, with all that it says")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep all files in a new folder")
    options = parser.parse_args()
    torch.set_num_threads(1)  # a fork of a process with several threads may hang
    only = {kind: getattr(options, kind) for kind in ("case", "kill", "disk")}
    numbers = {kind: range(getattr(options, f"{kind}s")) for kind in only}
    if any(number is not None for number in only.values()):
        numbers = {kind: range(0) if number is None else range(number, number + 1) for kind, number in only.items()}
    folder = options.keep or Path(tempfile.mkdtemp(prefix="campaign-"))
    folder.mkdir(exist_ok=True)
    try:
        findings = campaign(options.seed, numbers, folder, keep=options.keep is not None)
    finally:
        if options.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    print(findings.report())
    return int(bool(findings.found))


def campaign(seed: int, numbers: dict[str, range], folder: Path, *, keep: bool) -> Findings:
    """Make the material and run all cases of each kind."""
    start, findings = time.monotonic(), Findings()
    material = make(folder / "material")
    kills = Kills(material, folder / "kills")
    (folder / "cases").mkdir()
    (folder / "disks").mkdir()
    runs = {
        "case": lambda n: run_case(seed, n, material, folder / "cases" / f"{n:05d}", findings)[1],
        "kill": lambda n: kills.kill(seed, n, findings)[0],
        "disk": lambda n: fill(seed, n, material, folder / "disks" / f"{n:04d}", findings),
    }
    done = 0
    for kind, own in numbers.items():
        for number in own:
            ended = runs[kind](number)
            done += 1
            if len(own) == 1:
                print(f"--- {kind} {number}: exit status {ended.status} after {ended.seconds:.1f} s\n{ended.said}")
            elif done % 50 == 0:
                found = sum(map(len, findings.found.values()))
                print(
                    f"{kind} {number + 1}/{len(own)}, {found} found, {time.monotonic() - start:.0f} s", file=sys.stderr
                )
            if not keep:
                for parent in ("cases", "disks", "kills"):
                    for old in (folder / parent).glob("[0-9]*"):
                        shutil.rmtree(old, ignore_errors=True)
    return findings


if __name__ == "__main__":
    raise SystemExit(main())
