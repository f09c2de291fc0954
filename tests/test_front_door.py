"""``ncct-cta`` and ``python -m ncct_cta``: what they list, and what they answer without waiting for PyTorch."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import ncct_cta
from ncct_cta.__main__ import COMMANDS, main
from ncct_cta.common.command_line import program
from ncct_cta.common.errors import InputError
from ncct_cta.runs.names import LAST
from ncct_cta.settings.places import presets
from ncct_cta.train.overrides import check_at_once

PACKAGE = Path(ncct_cta.__file__).parent
HEAVY = {"torch", "monai", "ignite", "SimpleITK", "scipy", "matplotlib"}
SECONDS = 0.5
LIGHT = [name for name in COMMANDS if name != "metrics"]  # the formulas themselves are made of PyTorch
# The child leaves by SystemExit, as a command does; what it has imported by then is what the user has waited for.
ASKED = """
import atexit, sys
atexit.register(lambda: print("IMPORTED", *{name.partition(".")[0] for name in sys.modules}))
from ncct_cta.__main__ import main
main(sys.argv[1:])
"""
ANSWERED_AT_ONCE = {
    "nothing": ([], 0, "commands"),
    "version": (["--version"], 0, "ncct-cta "),
    "unknown command": (["tarin"], 2, "did you mean train?"),
    **{f"{name} --help": ([name, "--help"], 0, "usage: ") for name in LIGHT},
    **{f"{name} usage error": ([name, "--never-heard-of"], 2, "error: ") for name in LIGHT},
    "presets": (["train", "--list"], 0, "g_small"),
    "no preset": (["train", "nowhere"], 2, "there is no settings file nowhere"),
    "unknown setting": (["train", "g", "--train::lrr", "3"], 2, "did you mean lr?"),
    "wrong value": (["train", "g", "--num_epochs", "many"], 2, "expected a whole number"),
    "no case list": (["train", "g"], 2, "no case list is given"),
    "missing case list": (["train", "g", "--data::datalist", "nowhere"], 2, "nowhere: there is no such file"),
    "no pretrained G": (
        ["train", "g2", "--data::datalist=.", "--pretrained_G=nowhere"],
        2,
        "there is no such checkpoint",
    ),
    "no scans": (["prepare", "scan", "nowhere"], 2, "there is no such folder"),
    "no pairs": (["prepare", "pairs", "nowhere", "--output", "out"], 2, "there is no such list of pairs"),
    "no run to evaluate": (["evaluate", "--run", "nowhere"], 2, "there is no such folder"),
    "no predictions": (["evaluate", "--pred", "nowhere"], 2, "there is no such folder"),
    "no cases": (["evaluate", "--datalist", "nowhere"], 2, "there is no such file or folder"),
    "no input": (
        ["infer", "--input", "nowhere", "--output", "out", "--checkpoint", __file__],
        2,
        "nowhere: there is no such",
    ),
    "no run": (["infer", "--input", ".", "--output", "out", "--run", "nowhere"], 2, "there is no such run folder"),
    "no weights": (["infer", "--input", ".", "--output", "out", "--checkpoint", "nowhere"], 2, "no such checkpoint"),
    "no packed model": (["infer", "--input", ".", "--output", "o", "--model", "nowhere"], 2, "no such packed model"),
    "two models' checkpoint": (
        ["infer", "--input", ".", "--output", "o", "--run", ".", "/", "--checkpoint", __file__],
        2,
        "it isn't clear whose it is",
    ),
    "one prediction's spread": (
        ["infer", "--input", ".", "--output", "o", "--checkpoint", __file__, "--uncertainty", "--tta", "1"],
        2,
        "which can't disagree",
    ),
    "no run to pack": (["pack", "nowhere", "--output", "m.zip"], 2, "there is no such run folder"),
    "packed as what": (["pack", ".", "--output", "m.tar", "--checkpoint", __file__], 2, "ends in .zip"),
    "no pairs to compare on": (["compare", "--datalist", "nowhere"], 2, "nowhere: there is no such"),
    "no recipe": (["compare", "--datalist", ".", "--recipes", "nowhere"], 2, "there is no settings file nowhere"),
    "what a comparison decides": (["compare", "--datalist", ".", "--num_epochs", "3"], 2, "decides that itself"),
    "no steps": (["features", "g", "--data::datalist", ".", "--output", "f.pt", "--steps", "0"], 2, "at least 1"),
    "too few cases": (["demo", "--cases", "1"], 2, "expected 3 or more cases"),
}


def asked(words: list[str], folder: Path) -> tuple[int, str, set[str]]:
    """Exit status, what is said, and what was imported for it."""
    done = subprocess.run(
        [sys.executable, "-c", ASKED, *words],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
    )  # fmt: skip
    said, _, imported = done.stdout.rpartition("IMPORTED")
    return done.returncode, said, set(imported.split())


@pytest.mark.parametrize(("words", "status", "text"), ANSWERED_AT_ONCE.values(), ids=ANSWERED_AT_ONCE)
def test_an_answer_that_needs_no_pytorch_does_not_wait_for_it(
    words: list[str], status: int, text: str, tmp_path: Path
) -> None:
    returned, said, imported = asked(words, tmp_path)
    assert returned == status, said
    assert text in said
    assert "Traceback" not in said
    assert not HEAVY & imported
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("words", [["train", "--help"], ["infer", "--unknown"], ["train", "nowhere"]], ids=" ".join)
def test_it_takes_half_a_second(words: list[str]) -> None:
    def seconds() -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "ncct_cta", *words], capture_output=True, timeout=60)
        return time.perf_counter() - start

    assert min(seconds() for _ in range(5)) < SECONDS  # the fastest: the machine may be busy


def test_every_command_is_listed_and_is_a_module(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    listed = capsys.readouterr().out
    assert {path.parent.name for path in PACKAGE.glob("*/__main__.py")} == set(COMMANDS)
    for name, meaning in COMMANDS.items():
        assert f"  {name:<10}{meaning}\n" in listed


def test_a_command_gets_the_words_after_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    main(["settings"])
    assert "| `train.lr` |" in capsys.readouterr().out


def test_the_version_is_the_installed_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"ncct-cta {ncct_cta.__version__}\n"


@pytest.mark.parametrize(
    ("words", "usage"),
    [
        (["-m", "ncct_cta", "train", "--help"], "usage: python -m ncct_cta train "),
        (["-m", "ncct_cta.train", "--help"], "usage: python -m ncct_cta.train "),
        (["ncct-cta", "train", "--help"], "usage: ncct-cta train "),
        (["ncct-cta", "prepare", "scan", "--help"], "usage: ncct-cta prepare scan "),
        (["ncct-cta", "--help"], "usage: ncct-cta "),
    ],
    ids=" ".join,
)
def test_the_help_repeats_how_it_was_called(words: list[str], usage: str, tmp_path: Path) -> None:
    script = tmp_path / "ncct-cta"  # what pip makes of the entry point
    script.write_text("from ncct_cta.__main__ import main\nif __name__ == '__main__':\n    main()\n")
    called = [str(script) if word == "ncct-cta" else word for word in words]
    said = subprocess.run([sys.executable, *called], capture_output=True, text=True, timeout=60, check=True).stdout
    assert said.startswith(usage)


def test_a_command_called_from_python_names_the_module() -> None:
    assert program("infer") == "python -m ncct_cta.infer"


def test_presets_are_described_by_their_comment_without_the_launch_command() -> None:
    described = presets()
    assert described["g_small"].startswith("A small generator that learns on a CPU")
    assert all(text and "monai.bundle" not in text and "#" not in text for text in described.values())


def test_all_wrong_settings_are_named_at_once_with_the_presets() -> None:
    with pytest.raises(InputError, match=r"unknown section nets.*ema.decay is 2.*train.seed is 'x'"):
        check_at_once({"train": {"seed": "x"}}, {"nets": 2, "ema#decay": 2, "dataset_dir": "x", "run_id": "training"})


def test_without_a_case_list_the_default_is_not_blamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"no case list is given, and ./phantom isn't there; give --data"):
        check_at_once({}, {})


def test_a_run_that_goes_on_needs_no_weights_to_start_from(tmp_path: Path) -> None:
    given = {"data": {"datalist": str(tmp_path)}, "train": {"output_dir": str(tmp_path), "pretrained_G": "gone"}}
    with pytest.raises(InputError, match="gone: there is no such checkpoint"):
        check_at_once(given, {"train::resume": True})
    (tmp_path / LAST).touch()
    check_at_once(given, {"train::resume": True})


EVERY_MODULE = """
import importlib, pkgutil, sys
for name in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[name] = None
import ncct_cta
for module in pkgutil.walk_packages(ncct_cta.__path__, "ncct_cta.", onerror=print):
    importlib.import_module(module.name)
    print(module.name)
"""


def test_no_module_needs_what_only_unix_has(tmp_path: Path) -> None:
    environment = os.environ | {"LOGNAME": "somebody"}  # as on Windows: MONAI asks who the user is
    done = subprocess.run(
        [sys.executable, "-c", EVERY_MODULE],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    names = {path.relative_to(PACKAGE.parent).with_suffix("") for path in PACKAGE.rglob("*.py")}
    modules = {".".join(name.parts).removesuffix(".__init__") for name in names}
    assert set(done.stdout.split()) == modules - {"ncct_cta"}
