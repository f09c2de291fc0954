"""A run packed into one file: what it holds, what it must not hold, and that it gives the same images."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from pathlib import Path

import nibabel as nib
import pytest
import torch
import yaml
from made_scans import edited, synthesise

from ncct_cta.common.files import sha256_of
from ncct_cta.common.limits import UNSEEN
from ncct_cta.pack import main as pack
from ncct_cta.runs.checkpoints import load_checkpoint, network_weights
from ncct_cta.runs.model_archive import MEMBERS, SUMS, read_archive

PATIENT = "DOE_JANE_1950"


def statistic(mean: float) -> dict[str, float]:
    return {"cases": 3, "mean": mean, "std": 2.0, "low": mean - 1, "high": mean + 1, "p_identity": 0.25, "p_first": 1.0}


@pytest.fixture
def evaluation(tmp_path: Path) -> Path:
    folder = tmp_path / "evaluation"
    folder.mkdir()
    summary = {
        "cases": [f"{PATIENT}_{number}" for number in range(3)],
        "methods": {
            name: {"vessel_mae_hu": statistic(mean)}
            for name, mean in (("identity", 280.0), ("hu_remap", 235.0), ("g", 90.0), ("h", 80.0))
        },
        "columns": {"vessel_mae_hu": {"title": "MAE, vessels", "unit": "HU", "better": "lower"}},
        "remarks": [f"{PATIENT}_1 is odd"],
        "failures": {},
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


@pytest.fixture(scope="module")
def packed(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("packed") / "model.zip"
    pack([str(trained_run), "--output", str(path)])
    return path


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def refusal(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        pack([str(word) for word in words])
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def test_a_packed_model_gives_the_same_image_as_its_run_bit_for_bit(
    trained_run: Path, packed: Path, cohort: Path, tmp_path: Path
) -> None:
    scan = cohort / "phantom003_ncct.nii.gz"
    (by_run,) = synthesise(scan, tmp_path / "run", "--run", trained_run).values()
    (unpacked,) = synthesise(scan, tmp_path / "packed", "--model", packed).values()
    assert unpacked.read_bytes() == by_run.read_bytes()
    record = json.loads((tmp_path / "packed" / "phantom003_syncta.json").read_text())
    assert record["made_from"]["weights_sha256"] == sha256_of(packed)


def test_the_weights_are_those_of_the_run(trained_run: Path, packed: Path) -> None:
    file = trained_run / "checkpoint_best.pt"
    expected = network_weights(load_checkpoint(file), file)
    weights = read_archive(packed).weights
    assert weights.keys() == expected.keys()
    assert all(bool((weights[name] == value).all()) for name, value in expected.items())


def test_a_run_gives_the_same_file_twice(trained_run: Path, packed: Path, tmp_path: Path) -> None:
    pack([str(trained_run), "--output", str(tmp_path / "again.zip")])
    assert (tmp_path / "again.zip").read_bytes() == packed.read_bytes()


def test_the_sha256_of_the_file_is_printed_and_that_of_each_member_is_in_it(
    trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.zip"
    pack([str(trained_run), "--output", str(path)])
    assert capsys.readouterr().out == f"{sha256_of(path)}  {path}\n"
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "unpacked")
    listed = [line.split("  ") for line in (tmp_path / "unpacked" / SUMS).read_text().splitlines()]
    assert [name for _, name in listed] == list(MEMBERS)
    assert all(sha256_of(tmp_path / "unpacked" / name) == digest for digest, name in listed)


def test_the_card_says_what_the_user_said_and_how_many_cases_were_scored(
    trained_run: Path, evaluation: Path, tmp_path: Path
) -> None:
    words = ["--training", "40 pairs\nof two scanners", "--licence", "CC BY 4.0", "--scores", str(evaluation)]
    pack([str(trained_run), "--output", str(tmp_path / "m.zip"), *words])
    found = members(tmp_path / "m.zip")
    card = json.loads(found["card.json"])
    assert (card["training_data"], card["licence"]) == ("40 pairs\nof two scanners", "CC BY 4.0")
    (scores,) = card["scores"]
    assert (scores["title"], scores["cases"]) == ("", 3)
    assert scores["columns"]["vessel_mae_hu"] | {"title": "", "unit": ""} == {
        "title": "", "unit": "", "mean": 90.0, "low": 89.0, "high": 91.0, "cases": 3, "identity": 280.0,
        "hu_remap": 235.0,
    }  # fmt: skip
    text = found["README.md"].decode()
    for part in (
        "> 40 pairs\n> of two scanners",
        "> CC BY 4.0",
        "| MAE, vessels [HU] | 90 | 89 to 91 | 280 | 235 |",
        UNSEEN,
    ):
        assert part in text


def test_a_card_holds_a_table_of_every_evaluation_by_its_title(
    trained_run: Path, evaluation: Path, tmp_path: Path
) -> None:
    scores = [f"held-out *phantoms*={evaluation}", f"a real pair={evaluation}"]
    pack([str(trained_run), "--output", str(tmp_path / "m.zip"), "--method", "g", "--scores", *scores])
    text = members(tmp_path / "m.zip")["README.md"].decode()
    assert text.count("| MAE, vessels [HU] | 90 |") == 2
    assert text.index(r"> held-out \*phantoms\* (3 cases)") < text.index("> a real pair (3 cases)")


def test_half_precision_halves_the_weights_and_hardly_changes_the_image(
    trained_run: Path, packed: Path, cohort: Path, tmp_path: Path
) -> None:
    half = tmp_path / "half.zip"
    pack([str(trained_run), "--output", str(half), "--half"])
    whole, halved = (read_archive(path) for path in (packed, half))
    assert {value.dtype for value in halved.weights.values() if value.is_floating_point()} == {torch.float16}
    sizes = [sum(value.nbytes for value in model.weights.values()) for model in (whole, halved)]
    assert sizes[1] <= 0.51 * sizes[0]
    assert "stored in half precision" in halved.words
    assert "half precision" not in whole.words
    scan = cohort / "phantom003_ncct.nii.gz"
    images = [
        nib.load(next(iter(synthesise(scan, tmp_path / path.stem, "--model", path).values()))).get_fdata()
        for path in (packed, half)
    ]
    assert abs(images[0] - images[1]).max() <= 5


def test_without_words_and_scores_the_card_says_that_nothing_is_known(packed: Path) -> None:
    text = members(packed)["README.md"].decode()
    assert "nothing is known of its errors" in text
    assert "ask who packed the model" in text


def test_no_path_case_or_patient_is_named(trained_run: Path, evaluation: Path, cohort: Path, tmp_path: Path) -> None:
    run = tmp_path / PATIENT
    shutil.copytree(trained_run, run)
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["train"] |= {"pretrained_G": f"/data/{PATIENT}.pt", "output_dir": str(run)}
    config["data"]["cache_dir"] = f"/data/{PATIENT}"
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    words = ["--output", str(tmp_path / "m.zip"), "--scores", str(evaluation), "--method", "g"]
    pack([str(run), *words])
    everything = (tmp_path / "m.zip").read_bytes()
    for private in (PATIENT, str(tmp_path), str(trained_run.parent), str(cohort), "phantom00"):
        assert private.encode() not in everything


@pytest.mark.parametrize(
    ("method", "message"), [("", "there is no method 'run' in it"), ("x", "there is no method 'x' in it")]
)
def test_whose_scores_are_meant_must_be_clear(
    method: str, message: str, trained_run: Path, evaluation: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained_run, tmp_path / "run")
    words = ["--method", method] if method else []
    line = refusal(capsys, tmp_path / "run", "--output", tmp_path / "m.zip", "--scores", evaluation, *words)
    assert message in line
    assert "trained: g, h" in line


@pytest.mark.parametrize("text", ["", "[]", '{"methods": 3, "columns": {}, "cases": []}', '{"methods": {"g": {}}}'])
def test_scores_that_are_no_evaluations_are_refused(
    text: str, trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "summary.json").write_text(text)
    line = refusal(capsys, trained_run, "--output", tmp_path / "m.zip", "--scores", tmp_path)
    assert "isn't an evaluation's summary.json" in line


@pytest.mark.parametrize("kind", ["network", "preprocessing"])
def test_a_run_that_needs_code_from_outside_cant_be_packed(
    kind: str, trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained_run, tmp_path / "run")
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    if kind == "network":
        config["model"]["architecture"] = "my_networks.Net"
    else:
        config["preprocessing"] = [{"_target_": "my_steps.Step"}]
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(config))
    assert "which is code and can't be packed" in refusal(capsys, tmp_path / "run", "--output", tmp_path / "m.zip")
    assert not (tmp_path / "m.zip").exists()


def test_a_file_that_is_there_is_replaced_only_if_asked(
    trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.zip").write_text("mine")
    assert "--overwrite replaces it" in refusal(capsys, trained_run, "--output", tmp_path / "m.zip")
    assert (tmp_path / "m.zip").read_text() == "mine"
    pack([str(trained_run), "--output", str(tmp_path / "m.zip"), "--overwrite"])
    assert zipfile.is_zipfile(tmp_path / "m.zip")


MARKUP = "<img src=http://evil.example/p.png> ![x](http://evil.example) \n\n# Cleared for clinical use |"
LIVE = re.compile(r"(?<!\\)(<img|!\[|\]\()|\n(> )?# Cleared")  # of MARKUP, what isn't escaped


@pytest.mark.parametrize("text", ["title", "unit"])
def test_an_evaluations_words_are_no_markup_and_no_lines_of_their_own(
    text: str, trained_run: Path, evaluation: Path, tmp_path: Path
) -> None:
    summary = json.loads((evaluation / "summary.json").read_text())
    summary["columns"]["vessel_mae_hu"][text] = MARKUP
    (evaluation / "summary.json").write_text(json.dumps(summary))
    pack([str(trained_run), "--output", str(tmp_path / "m.zip"), "--scores", str(evaluation), "--method", "g"])
    words = members(tmp_path / "m.zip")["README.md"].decode()
    assert "clinical" in words
    assert not LIVE.search(words)


def test_the_users_words_are_no_markup(trained_run: Path, tmp_path: Path) -> None:
    words = ["--training", MARKUP, "--licence", f"CC BY 4.0, (c) us_two {MARKUP}"]
    pack([str(trained_run), "--output", str(tmp_path / "m.zip"), *words])
    text = members(tmp_path / "m.zip")["README.md"].decode()
    assert "> CC BY 4.0, (c) us_two " in text
    assert not LIVE.search(text)


@pytest.mark.parametrize("figures", [{"mean": "<b>90</b>"}, {"low": [PATIENT]}, {"cases": PATIENT}, {"mean": True}])
def test_figures_that_are_no_numbers_are_refused(
    figures: dict, trained_run: Path, evaluation: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = json.loads((evaluation / "summary.json").read_text())
    summary["methods"]["g"]["vessel_mae_hu"] |= figures
    (evaluation / "summary.json").write_text(json.dumps(summary))
    words = ("--output", tmp_path / "m.zip", "--scores", evaluation, "--method", "g")
    assert "isn't an evaluation's summary.json" in refusal(capsys, trained_run, *words)


def test_arguments_that_no_network_takes_arent_packed(trained_run: Path, tmp_path: Path) -> None:
    run = edited(trained_run, tmp_path / "run")
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["model"]["arguments"] = {"weights": f"/data/{PATIENT}.pt"}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    checkpoint = torch.load(run / "checkpoint_best.pt", weights_only=True)
    checkpoint["settings"]["model"]["arguments"] = config["model"]["arguments"]
    torch.save(checkpoint, run / "checkpoint_best.pt")
    pack([str(run), "--output", str(tmp_path / "m.zip")])
    assert PATIENT.encode() not in (tmp_path / "m.zip").read_bytes()
