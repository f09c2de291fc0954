"""How good is the starter model, and how is it made? ``python benchmarks/starter.py --scans FILES --test PREFIX``.

The model that the wheel holds (``ncct_cta/runs/assets/starter.zip``) is made by this script: phantoms and virtual pairs
of the ``--scans``, contrast CTs whose licence allows it (``prepare virtual``), a training of ``g_starter``, and a card
with the scores of held-out phantoms and of the real pair ``--test`` (``PREFIX_{ncct,cta,lung,vessel}.nii.gz``), which
the training never sees. A step whose result lies in ``--work`` already isn't done again.

``--saved DATALIST`` asks instead what starting from it saves: ``g_starter`` is trained on that case list from scratch
and from the starter's weights, and the vessel error of its validation cases stands after every epoch.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import tempfile
import time
from pathlib import Path

from ncct_cta.evaluate.command import main as evaluate
from ncct_cta.infer.command import main as infer
from ncct_cta.pack.command import main as pack
from ncct_cta.phantom.cohort import write_cohort
from ncct_cta.prepare.command import main as prepare
from ncct_cta.runs.names import LAST, METRICS
from ncct_cta.train.command import main as train

SEED = 100
SHAPE, SPACING = (224, 172, 40), (1.5, 1.5, 6.4)  # the field of view of a patient, in the voxels that G sees
KINDS = ("ncct", "cta", "lung", "vessel")
HELD_OUT = 2  # phantoms
TRAINING = (
    "{phantoms} phantoms of this software (python -m ncct_cta.phantom) and {scans} virtual pairs, made by prepare "
    "virtual from contrast CTs of the Cancer Imaging Archive: {names}. The NCCTs are simulated: no real non-contrast "
    "scan was seen. Made for trying the software, not for patients."
)
LICENCE = "CC BY 4.0. {credit}"


def files_of(folder: Path, case: str) -> dict[str, str]:
    """The files of a case, as a case list names them."""
    return {"case": case} | {kind: str(folder / f"{case}_{kind}.nii.gz") for kind in KINDS}


def make_lists(options: argparse.Namespace) -> dict[str, Path]:
    """Write the phantoms, the virtual pairs, and a case list each for training with held-out phantoms and the pair."""
    work, count = options.work, options.phantoms + 1 + HELD_OUT
    phantoms, virtual = work / "phantoms", work / "virtual"
    if not (phantoms / "datalist.json").exists():
        shape, spacing = tuple(options.shape), tuple(options.spacing)
        write_cohort(phantoms, cases=count, seed=SEED, shape=shape, spacing=spacing, air=16)
    names = [path.name.removesuffix(".nii.gz") for path in options.scans]
    if names and not (virtual / "datalist.json").exists():
        scans = [str(path) for path in options.scans]
        prepare(["virtual", *scans, "--output", str(virtual), "--accept", *names])
    cases = [files_of(phantoms, f"phantom{index:03d}") for index in range(count)]
    given = cases[: options.phantoms] + [files_of(virtual, name) | {"virtual": True} for name in names]
    splits = {"training": given, "validation": cases[options.phantoms : options.phantoms + 1]}
    lists = {f"{HELD_OUT} phantoms that it never saw": cases[options.phantoms + 1 :]}
    if options.test:
        lists["a pair that it never saw"] = [files_of(options.test.parent, options.test.name)]
    written = {}
    for number, (title, testing) in enumerate(lists.items()):
        written[title] = work / f"list{number}.json"
        written[title].write_text(json.dumps(splits | {"testing": testing}))
    return written


def make_starter(options: argparse.Namespace) -> Path:
    """Train, score what is packed, and pack it again with the scores on its card."""
    lists = make_lists(options)
    run, bare, packed = options.work / "run", options.work / "bare.zip", options.work / "starter.zip"
    if not (run / LAST).exists() or options.resume:
        settings = {
            "data::datalist": next(iter(lists.values())),
            "train::num_epochs": options.epochs,
            "train::steps_per_epoch": options.steps,
            "train::val_every": 10,
            "train::device": "cpu",
            "train::output_dir": run,
        }
        resume = ["--resume"] if options.resume else []
        train(["g_starter", *resume, *(str(word) for key, value in settings.items() for word in (f"--{key}", value))])
    words = [str(run), "--checkpoint", str(run / LAST), "--half", "--overwrite"]
    pack([*words, "--output", str(bare)])
    scores = []
    for number, (title, datalist) in enumerate(lists.items()):
        predictions, found = options.work / f"predictions{number}", options.work / f"scores{number}"
        infer(["--model", str(bare), "--input", str(datalist), "--split", "testing", "--output", str(predictions)])
        given = ["--datalist", str(datalist), "--pred", f"starter={predictions}", "--jobs", "1", "--no-report"]
        evaluate([*given, "--output", str(found)])
        scores.append(f"{title}={found}")
    names = ", ".join(options.names) or "none"
    told = TRAINING.format(phantoms=options.phantoms, scans=len(options.scans), names=names)
    credit = LICENCE.format(credit=options.credit).strip()
    pack([*words, "--output", str(packed), "--scores", *scores, "--training", told, "--licence", credit])
    return packed


def show_saved(options: argparse.Namespace) -> None:
    """Print the vessel error after every epoch, from scratch and from the starter."""
    for name, words in (("from scratch", []), ("from the starter", ["--pretrained_G", "starter"])):
        start = time.process_time()
        with tempfile.TemporaryDirectory() as place:
            settings = {
                "data::datalist": options.saved,
                "train::num_epochs": options.epochs,
                "train::steps_per_epoch": options.steps,
                "train::amp": "bf16",
                "train::output_dir": f"{place}/run",
            }
            given = [str(word) for key, value in settings.items() for word in (f"--{key}", value)]
            train(["g_starter", *given, *words])
            rows = list(csv.DictReader((Path(place) / "run" / METRICS).open(newline="")))
        errors = ", ".join(f"{float(row['val_vessel_mae_hu']):.1f}" for row in rows)
        print(f"{name}: vessels {errors} HU, every {options.steps} steps, {time.process_time() - start:.0f} s of CPU")


def main() -> None:
    """Make the starter, or measure what it saves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add(
        "--scans", type=Path, nargs="*", default=[], help="contrast CTs, which may be used and redistributed as weights"
    )
    add("--names", nargs="*", default=[], help="what the card calls them, in this order")
    add("--credit", default="", help="what their licences ask to be said")
    add("--test", type=Path, help="a pair's files without _ncct.nii.gz")
    add("--phantoms", type=int, default=8, help="phantoms to train on")
    add("--shape", type=int, nargs=3, default=SHAPE)
    add("--spacing", type=float, nargs=3, default=SPACING)
    add("--epochs", type=int, default=28)
    add("--steps", type=int, default=200, help="steps an epoch")
    add("--resume", action="store_true", help="go on with the training")
    add("--work", type=Path, help="where everything is kept (default: nowhere)")
    add("--saved", type=Path, help="a case list: measure what starting from the starter saves on it")
    options = parser.parse_args()
    if options.saved:
        show_saved(options)
        return
    with contextlib.ExitStack() as closing:
        if options.work is None:
            options.work = Path(closing.enter_context(tempfile.TemporaryDirectory()))
        options.work.mkdir(parents=True, exist_ok=True)
        packed = make_starter(options)
        print(f"{packed}: {os.path.getsize(packed) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
