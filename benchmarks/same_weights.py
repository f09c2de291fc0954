"""Do two checkouts train bit for bit the same? ``python benchmarks/same_weights.py BEFORE AFTER``.

Every preset of BEFORE is trained in both, tiny, for 50 steps with two validations, on the same phantoms: 2 to 3 minutes
a checkout. G2 starts from that checkout's own run of ``g_small``, against D also from its run of the G2 with the same
fusion. The table says for each preset how many tensors of ``checkpoint_last.pt`` (networks, average, optimisers,
random states) are the same to the last bit, and the largest difference; a name that only one has, another value beside
the tensors, and another line of ``metrics.csv`` stand below it. A setting that only AFTER knows is no difference. The
exit status is 1 if anything differs.

    python benchmarks/same_weights.py BEFORE AFTER --work DIR            keeps the runs; those of BEFORE are used again
    python benchmarks/same_weights.py BEFORE AFTER --work DIR --demo     the demo too, 4 minutes more a checkout

A checkout is run by its own folder, whichever is installed. Runs are used again only if nothing in BEFORE has changed
since its commit, and the same settings and PyTorch made them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
import yaml

COHORT = "--cases 4 --seed 7 --shape 48 48 24 --spacing 7 7 10.5 --motion-mm 4"
G, EPOCHS = "g_small", 2
BEST, LAST, METRICS, DONE = "checkpoint_best.pt", "checkpoint_last.pt", "metrics.csv", "done.json"
# Learning rates, weights of losses, fusion and what is enabled stay the preset's own.
TINY = {
    "data::num_workers": 0,
    "model::channels": [8, 16],
    "model::num_res_units": 1,
    "refine::hidden_dim": 8,
    "refine::num_blocks": 2,
    "refine::warmup_steps": 5,
    "discriminator::hidden_dim": 8,
    "discriminator::warmup_epochs": 1,
    "discriminator::warmup_steps": 5,
    "train::num_epochs": EPOCHS,
    "train::batch_size": 4,
    "train::warmup_steps": 5,
    "train::device": "cpu",
    "train::seed": 3,
}
TINY_2D = {"data::patch_size": [32, 32]}
TINY_3D = {"data::patch_size": [32, 32, 16], "data::spacing": [6.0, 6.0, 8.0]}
DEMO_FILES = ("table.txt", "evaluation/scores.csv", "evaluation/summary.csv")
Preset = Mapping[str, Mapping[str, Any]]


class Checkout:
    """A checkout, and the folder in which its runs lie."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root, self.folder = root.resolve(), folder
        self.commit = _commit(self.root)
        self.key = {"commit": self.commit, "torch": torch.__version__}
        where = self._python("-c", "import ncct_cta; print(ncct_cta.__file__)").stdout.strip()
        if Path(where).resolve().parent != self.root / "ncct_cta":
            sys.exit(f"{root}: python there runs {where or 'no ncct_cta'}, expected that of the checkout")

    def run(self, name: str, *words: str, output: str) -> Path:
        """Run a command of the package that writes to the folder ``name``, if that isn't there already."""
        folder = self.folder / name
        done = folder.with_name(f"{folder.name}.{DONE}")
        if self.commit and done.is_file() and json.loads(done.read_text()) == self.key | {"words": list(words)}:
            return folder
        done.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        start = time.monotonic()
        result = self._python("-m", *words, output, str(folder))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "printed.txt").write_text(result.stdout + result.stderr)
        if result.returncode:
            lines = result.stderr.strip().splitlines() or ["nothing printed"]
            print(f"{name} failed in {self.root}: {lines[-1]} (all of it: {folder / 'printed.txt'})")
            return folder
        done.write_text(json.dumps(self.key | {"words": words}))
        print(f"{name} in {self.root}: {time.monotonic() - start:.0f} s", file=sys.stderr)
        return folder

    def _python(self, *words: str) -> subprocess.CompletedProcess[str]:
        # One thread: the order of sums, and so their last bit, doesn't depend on the machine's load.
        own = {"PYTHONPATH": str(self.root), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
        command = [sys.executable, *words]
        return subprocess.run(command, cwd=self.root, env=os.environ | own, capture_output=True, text=True)


def _commit(root: Path) -> str:
    """The checkout's commit; empty if something has changed since, or it is none."""

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True).stdout.strip()

    is_checkout = Path(git("rev-parse", "--show-toplevel") or "/") == root
    return git("rev-parse", "HEAD") if is_checkout and not git("status", "--porcelain") else ""


def read_presets(root: Path, only: Sequence[str]) -> dict[str, Preset]:
    """The presets by name, each after those that it starts from."""
    presets = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((root / "configs").glob("*.yaml"))}
    needed = {name for name in only or presets for name in (name, *starts(name, presets).values())}
    return {name: presets[name] for name in sorted(needed, key=lambda name: (len(starts(name, presets)), name))}


def starts(name: str, presets: Mapping[str, Preset]) -> dict[str, str]:
    """Which preset's run G and G2 start from, by setting."""
    refine = presets[name].get("refine", {})
    if not refine.get("enabled"):
        return {}
    if not presets[name].get("discriminator", {}).get("enabled"):
        return {"train::pretrained_G": G}
    plain_g2 = next(
        other
        for other, content in presets.items()
        if content.get("refine", {}).get("enabled")
        and not content.get("discriminator", {}).get("enabled")
        and content["refine"].get("fusion") == refine.get("fusion")
    )
    return {"train::pretrained_G": G, "train::pretrained_G2": plain_g2}


def train(checkout: Checkout, name: str, presets: Mapping[str, Preset], cohort: Path, steps: int) -> Path:
    """Train a preset; give the run's folder."""
    dims = presets[name].get("model", {}).get("spatial_dims", 2)
    settings = {
        **TINY,
        **(TINY_3D if dims == 3 else TINY_2D),
        "data::datalist": cohort,
        "data::cache_dir": checkout.folder / "cache",
        "train::steps_per_epoch": steps // EPOCHS,
        **{setting: checkout.folder / other / BEST for setting, other in starts(name, presets).items()},
    }
    words = [str(word) for setting, value in settings.items() for word in (f"--{setting}", value)]
    return checkout.run(name, "ncct_cta.train", name, *words, output="--train::output_dir")


def leaves(content: Any, folder: Path, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every tensor and every plain value below, by its path; the folder of the checkout's runs is cut from texts."""
    if isinstance(content, Mapping):
        content = content.items()
    elif isinstance(content, list | tuple):
        content = enumerate(content)
    else:
        yield name, content.replace(str(folder), "") if isinstance(content, str) else content
        return
    for key, value in content:
        yield from leaves(value, folder, f"{name}/{key}")


def bits(value: Any) -> Any:
    """What is equal only if every bit is: NaN equals NaN, 0 isn't -0."""
    if not isinstance(value, torch.Tensor):
        return repr(value)
    return value.dtype, value.shape, bytes(value.contiguous().reshape(-1).view(torch.uint8).numpy())


def difference(one: Any, other: Any) -> float:
    """The largest difference of two tensors; infinite where there is none to tell."""
    if not (isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor) and one.shape == other.shape):
        return float("inf")
    return float((one.double() - other.double()).abs().nan_to_num(float("inf")).max())


def compare_runs(before: Path, after: Path) -> tuple[str, list[str]]:
    """The cells of a run's row, and what differs, in words."""
    missing = [f"{path} is missing" for run in (before, after) if not (path := run / LAST).is_file()]
    if missing:
        return "- | - | -", missing
    one, other = (dict(leaves(torch.load(run / LAST, weights_only=True), run.parent)) for run in (before, after))
    found = [f"{name} is only before" for name in one if name not in other]
    found += [f"{name} is only after" for name in other if name not in one and not name.startswith("/settings/")]
    differing = [name for name in one if name in other and bits(one[name]) != bits(other[name])]
    tensors = [name for name, value in one.items() if isinstance(value, torch.Tensor)]
    equal = [name for name in tensors if name in other and name not in differing]
    largest = max((difference(one[name], other[name]) for name in tensors if name in differing), default=0.0)
    found += [f"{name}: {_shown(one[name])}, after {_shown(other[name])}" for name in differing]
    return f"{len(tensors)} | {len(equal)} | {largest:.3g}", found + compare_texts(before, after, METRICS)


def _shown(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"mean {value.double().mean():.9g} of {tuple(value.shape)}"
    return repr(value)


def compare_texts(before: Path, after: Path, name: str) -> list[str]:
    """The first line that differs, in words."""
    texts = [(run / name).read_text() if (run / name).is_file() else "no such file" for run in (before, after)]
    lines = enumerate(zip_longest(*(text.splitlines() for text in texts), fillvalue="nothing"), 1)
    differing = ((number, *pair) for number, pair in lines if pair[0] != pair[1])
    return [f"{name}, line {number}: {one}, after {other}" for number, one, other in differing][:1]


def run_all(checkout: Checkout, presets: Mapping[str, Preset], options: argparse.Namespace) -> dict[str, Path]:
    """Every run of a checkout, by its row in the table."""
    cohort = checkout.folder.parent / "cohort"
    runs = {name: train(checkout, name, presets, cohort, options.steps) for name in presets}
    if options.demo:
        demo = checkout.run("demo", "ncct_cta.demo", output="--output")
        runs |= {f"demo/{run.parent.name}": run.parent for run in sorted(demo.glob(f"*/{LAST}"))} | {"demo": demo}
    return runs


def compare(before: Mapping[str, Path], after: Mapping[str, Path]) -> bool:
    """Print the table and what differs; say whether anything does."""
    differing: dict[str, list[str]] = {}
    print("\n| preset | tensors | equal | largest difference |\n|---|---|---|---|")
    for name in dict.fromkeys([*before, *after]):
        runs = before.get(name, Path("nowhere")), after.get(name, Path("nowhere"))
        if name == "demo":
            missing = [f"{run / DEMO_FILES[0]} is missing" for run in runs if not (run / DEMO_FILES[0]).is_file()]
            found = missing or [line for file in DEMO_FILES for line in compare_texts(*runs, file)]
            cells = f"scores | {'no' if found else 'yes'} | -"
        else:
            cells, found = compare_runs(*runs)
        print(f"| {name} | {cells} |")
        differing |= {name: found} if found else {}
    for name, found in differing.items():
        print(f"\n{name}, {len(found)} in all:")
        print("\n".join(f"  {line}" for line in [*found[:4], *found[4:][-4:]]))
    print("\nsomething differs" if differing else "\nall the same")
    return bool(differing)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="folder of a checkout")
    parser.add_argument("after", type=Path, help="folder of another one")
    parser.add_argument("--work", type=Path, help="keep the runs here (default: a temporary folder)")
    parser.add_argument("--presets", nargs="+", default=(), help="only these, and those that they start from")
    parser.add_argument("--steps", type=int, default=50, help=f"of a training, in {EPOCHS} epochs (default: 50)")
    parser.add_argument("--demo", action="store_true", help="compare python -m ncct_cta.demo too")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    options = build_parser().parse_args(argv)
    with tempfile.TemporaryDirectory() as temporary:
        work = (options.work or Path(temporary)).resolve()
        shutil.rmtree(work / "after", ignore_errors=True)
        before, after = (Checkout(getattr(options, name), work / name) for name in ("before", "after"))
        Checkout(options.before, work).run("cohort", "ncct_cta.phantom", *COHORT.split(), output="--output")
        presets = read_presets(before.root, options.presets)
        differs = compare(run_all(before, presets, options), run_all(after, presets, options))
    sys.exit(differs)


if __name__ == "__main__":
    main()
