"""Recipes trained for equal time: chosen, timed, gone on with, scored in one report."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from left_as_found import logging_left_as_found

from ncct_cta.common.errors import InputError
from ncct_cta.compare import comparison, equal_time
from ncct_cta.compare.command import main as compare
from ncct_cta.compare.equal_time import TimedTraining, steps_within
from ncct_cta.compare.plan import RECORD, chosen_recipes
from ncct_cta.runs.names import LAST
from ncct_cta.settings.places import presets

SMALL = {
    "model::channels": "[4,8]",
    "model::num_res_units": "0",
    "data::patch_size": "[32,32]",
    "train::batch_size": "2",
    "discriminator::hidden_dim": "4",
    "discriminator::num_layers": "1",
}
TINY = [word for name, value in SMALL.items() for word in (f"--{name}", value)]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The words of each training, of which each step takes 3 seconds and the start 7."""
    calls: list[list[str]] = []
    now = [0.0]

    def train(words: list[str]) -> None:
        calls.append(words)
        now[0] += 7 + 3 * int(words[words.index("--train::steps_per_epoch") + 1])

    monkeypatch.setattr(equal_time, "train", train)
    monkeypatch.setattr(TimedTraining, "clock", property(lambda _: lambda: now[0]))
    return calls


def test_all_are_the_recipes_that_are_shipped_and_a_name_may_leave_out_their_folder() -> None:
    shipped = {name.partition("/")[2]: name for name in presets() if name.startswith("recipes/")}
    assert chosen_recipes(["all"]) == shipped
    assert chosen_recipes(["pix2pix", "g_small"]) == {"pix2pix": "recipes/pix2pix", "g_small": "g_small"}
    assert chosen_recipes(["all", "recipes/pix2pix"]) == shipped


def test_two_of_one_name_and_a_runs_folder_are_refused(tmp_path: Path, trained_run: Path) -> None:
    (tmp_path / "pix2pix.yaml").write_text("loss: {l1_weight: 2}\n")
    with pytest.raises(InputError, match="are both called pix2pix"):
        chosen_recipes(["pix2pix", str(tmp_path / "pix2pix.yaml")])
    with pytest.raises(InputError, match="is a run's folder"):
        chosen_recipes([str(trained_run)])


def test_what_starts_and_ends_a_training_is_no_part_of_a_steps_time(trained: list, tmp_path: Path) -> None:
    assert TimedTraining("g_small", tmp_path).seconds_per_step(tmp_path) == pytest.approx(3)
    assert steps_within(100, 3) == 33
    assert steps_within(1, 3) == 1


def test_loading_processes_whose_time_is_not_counted_are_not_used_on_a_cpu(trained: list, tmp_path: Path) -> None:
    for device in ("cpu", "cuda"):
        TimedTraining("recipes/unet_3d", tmp_path, device=device).run(4, tmp_path)
    assert ["--data::num_workers" in words for words in trained] == [True, False]


@pytest.fixture(scope="module")
def compared(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    output = tmp_path_factory.mktemp("compared") / "out"
    words = ["--datalist", str(cohort), "--recipes", "g_small", "pix2pix", "--minutes", "0.005", "--device", "cpu"]
    words += ["--output", str(output), *TINY]
    with logging_left_as_found():
        compare(words)
    return words


def folder_of(words: list[str]) -> Path:
    return Path(words[words.index("--output") + 1])


def test_each_recipe_is_trained_and_all_are_in_one_report(compared: list[str]) -> None:
    folder = folder_of(compared)
    with open(folder / "evaluation" / "scores.csv", newline="") as file:
        methods = {row["method"] for row in csv.DictReader(file)}
    assert {"identity", "g_small", "pix2pix"} <= methods
    assert (folder / "evaluation" / "report.html").is_file()
    record = json.loads((folder / RECORD).read_text())["recipes"]
    assert all(known["steps"] >= 1 and known["seconds"] > 0 for known in record.values())
    assert sorted(path.name for path in folder.iterdir() if path.name != ".lock") == [RECORD, "evaluation", "runs"]


def test_the_same_command_trains_nothing_again(compared: list[str], monkeypatch, capsys) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder_of(compared).glob(f"runs/*/{LAST}")}
    monkeypatch.setattr(equal_time, "train", None)
    compare(compared)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert "pix2pix: trained already" in capsys.readouterr().out


def test_an_interrupted_training_goes_on_with_the_steps_that_were_measured(
    compared: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr(equal_time, "train", calls.append)
    record = comparison.Record(tmp_path / RECORD, {}, {"g_small": {"steps": 40, "seconds_per_step": 1.0}})
    comparison.train_recipe("g_small", TimedTraining("g_small", tmp_path), record, 60)
    (words,) = calls
    assert words[words.index("--train::num_epochs") + 1] == "10"
    assert words[words.index("--train::steps_per_epoch") + 1] == "4"
    assert words[-1] == "--resume"


@pytest.mark.parametrize(("option", "value"), [("--minutes", "7"), ("--seed", "3")])
def test_another_comparison_is_not_mixed_with_it(compared: list[str], option: str, value: str, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        compare([*compared, option, value])
    assert ended.value.code == 2
    assert "holds a comparison with" in capsys.readouterr().err


def test_a_recipe_that_has_changed_is_not_taken_for_the_one_that_was_trained(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(equal_time, "train", lambda words: None)
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("loss: {l1_weight: 2}\n")
    record = comparison.Record(tmp_path / RECORD, {})
    training = TimedTraining(str(recipe), tmp_path)
    comparison.train_recipe("mine", training, record, 60)
    recipe.write_text("loss: {l1_weight: 3}\n")
    with pytest.raises(InputError, match="has changed since"):
        comparison.train_recipe("mine", training, record, 60)


def test_a_recipe_that_fails_is_named_and_the_others_are_scored(
    compared: list[str], monkeypatch: pytest.MonkeyPatch, capsys, caplog
) -> None:
    def fails(words: list[str]) -> None:
        raise InputError("a gradient isn't finite")

    monkeypatch.setattr(equal_time, "train", fails)
    with pytest.raises(SystemExit) as ended:
        compare([*compared, "--recipes", "g_small", "unet_2d", "--model::channels", "[4,8]"])
    assert ended.value.code == 2  # another comparison: its settings differ
    words = [word for word in compared if word != "pix2pix"]
    words.insert(words.index("g_small") + 1, "reg_gan")
    with pytest.raises(SystemExit) as ended:
        compare(words)
    assert ended.value.code == 3
    assert "1 of 2 recipes can't be trained: reg_gan" in capsys.readouterr().err
    assert "reg_gan: a gradient isn't finite" in caplog.text


def test_a_bad_list_is_told_as_the_users_and_not_as_a_fault(cohort: Path, tmp_path: Path, capsys) -> None:
    entries = json.loads((cohort / "datalist.json").read_text())
    for case in entries["training"]:
        case.update({kind: str(cohort / case[kind]) for kind in ("ncct", "cta", "lung", "vessel")})
    datalist = tmp_path / "list.json"
    datalist.write_text(json.dumps({"training": entries["training"], "validation": []}))
    words = ["--datalist", str(datalist), "--recipes", "g_small", "--minutes", "0.01", "--device", "cpu"]
    with pytest.raises(SystemExit) as ended, logging_left_as_found():
        compare([*words, "--output", str(tmp_path / "out")])
    assert ended.value.code == 2
    assert "no validation cases" in capsys.readouterr().err
