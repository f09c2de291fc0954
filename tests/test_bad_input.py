"""Bad input: one line on stderr that names it and says what to do, exit status 2, and nothing half-written."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml

from ncct_cta.infer.command import main as infer
from ncct_cta.settings.places import bundle_config
from ncct_cta.train.command import main as train

NCCT, CTA, LUNG = (f"phantom000_{kind}.nii.gz" for kind in ("ncct", "cta", "lung"))


def shown(stderr: str) -> list[str]:
    """The lines that a terminal shows in the end: a progress bar is overwritten by what follows its \\r."""
    lines = (re.split(r"\r", line)[-1] for line in stderr.split("\n"))
    return [line.strip() for line in lines if line.strip()]


def error_of(command: Callable, words: Sequence[object], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must fail; give the one line that it says."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        command([str(word) for word in words])
    assert caught.value.code == 2
    lines = shown(capsys.readouterr().err)
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    return lines[0]


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def rewrite(path: Path, change: Callable[[np.ndarray], np.ndarray], affine: np.ndarray | None = None) -> None:
    """Replace a NIfTI by a changed one."""
    image = nib.load(path)
    nib.save(nib.Nifti1Image(change(np.asanyarray(image.dataobj)), image.affine if affine is None else affine), path)


def truncate(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def truncate_packed_whole(path: Path) -> None:
    """A copy that was cut short before it was packed: gzip finds nothing wrong with it."""
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-5000]))


def flip_a_bit(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[-6] ^= 1  # of the checksum
    path.write_bytes(whole)


def with_voxel(value: float) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        def change(hu: np.ndarray) -> np.ndarray:
            hu = hu.astype(np.float32)
            hu[3, 4, 5] = value
            return hu

        rewrite(path, change)

    return damage


def as_grey_levels(path: Path) -> None:
    rewrite(path, lambda hu: ((np.clip(hu, -160, 240) + 160) / 400 * 255).astype(np.uint8))


def scaled_and_padded(path: Path) -> None:
    def change(hu: np.ndarray) -> np.ndarray:
        scaled = (np.clip(hu, -160, 240) + 160).astype(np.float32) / 200 - 1
        scaled[:4, :4] = -2000
        return scaled

    rewrite(path, change)


def in_channels(path: Path) -> None:
    rewrite(path, lambda hu: np.stack([hu, hu], axis=-1))


def as_a_picture(path: Path) -> None:
    rewrite(path, lambda hu: hu[..., 0])


SCANS: dict[str, tuple[Callable[[Path], None], str]] = {
    "missing": (Path.unlink, "there is no such file.*check the path"),
    "empty": (lambda path: path.write_bytes(b""), "damaged or cut short.*copy it again"),
    "truncated": (truncate, "damaged or cut short.*copy it again"),
    "truncated_inside": (truncate_packed_whole, "damaged or cut short.*copy it again"),
    "wrong_checksum": (flip_a_bit, "damaged or cut short.*copy it again"),
    "no_nifti": (lambda path: path.write_bytes(gzip.compress(b"x" * 5000)), "not readable as NIfTI.*copy it again"),
    "nan": (with_voxel(np.nan), "1 of 55296 voxels are NaN or infinite, expected HU; fill them"),
    "infinite": (with_voxel(-np.inf), "1 of 55296 voxels are NaN or infinite, expected HU; fill them"),
    "grey_levels": (as_grey_levels, r"the values lie in \[0, 255\].*give the CT in HU: LOWER \+ x / 255"),
    "scaled_and_padded": (
        scaled_and_padded,
        r"the values lie in \[-1, 1\].*HU: LOWER \+ \(x \+ 1\) / 2 \* \(",
    ),
    "channels": (in_channels, r"the shape is \(48, 48, 24, 2\), expected one channel.*give one volume a file"),
    "a_picture": (as_a_picture, r"the shape is \(48, 48\), expected three axes \(X, Y, Z\), none of them empty; give"),
}


# ---- infer


@pytest.fixture
def scan(cohort: Path, tmp_path: Path) -> Path:
    """A copy of a good scan, to be damaged."""
    return Path(shutil.copy(cohort / NCCT, tmp_path / "scan.nii.gz"))


@pytest.mark.parametrize(
    ("damage", "message"),
    SCANS.values(),
    ids=SCANS,
)
def test_infer_names_what_is_wrong_with_a_scan(
    damage: Callable, message: str, scan: Path, trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(scan)
    output = tmp_path / "out"
    line = error_of(infer, ["--input", scan, "--output", output, "--run", trained_run], capsys)
    assert str(scan) in line
    assert re.search(message, line)
    assert not files_in(output)


def test_infer_goes_on_after_a_bad_file_and_lists_it(
    cohort: Path,
    trained_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    scans, output = tmp_path / "scans", tmp_path / "out"
    scans.mkdir()
    for index in range(4):
        shutil.copy(cohort / f"phantom{index:03d}_ncct.nii.gz", scans)
    truncate(scans / "phantom000_ncct.nii.gz")
    with_voxel(np.nan)(scans / "phantom002_ncct.nii.gz")
    with pytest.raises(SystemExit) as caught:
        infer(["--input", str(scans), "--output", str(output), "--run", str(trained_run)])
    assert caught.value.code == 3
    line = shown(capsys.readouterr().err)[-1]
    assert line == "error: 2 of 4 cases failed, for the reasons above: phantom000, phantom002"
    reasons = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert [bool(re.search(*words)) for words in zip(("000.*cut short", "002.*NaN"), reasons, strict=True)] == [
        True
    ] * 2
    written = [f"phantom{number}_syncta.{suffix}" for number in ("001", "003") for suffix in ("json", "nii.gz")]
    assert files_in(output) == written


def test_infer_names_a_folder_among_scans_that_holds_none(
    trained_run: Path, cohort: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scans = tmp_path / "scans"
    (scans / "odd.nii.gz").mkdir(parents=True)
    shutil.copy(cohort / "phantom000_ncct.nii.gz", scans)
    with pytest.raises(SystemExit, match="3"):
        infer(["--input", str(scans), "--output", str(tmp_path / "out"), "--run", str(trained_run)])
    assert "odd: the folder holds no CT volume" in caplog.text


def test_infer_keeps_an_older_output_when_the_new_scan_is_bad(
    scan: Path, trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "scan_syncta.nii.gz").write_text("older")
    truncate(scan)
    error_of(infer, ["--input", scan, "--output", output, "--run", trained_run, "--overwrite"], capsys)
    assert files_in(output) == ["scan_syncta.nii.gz"]
    assert (output / "scan_syncta.nii.gz").read_text() == "older"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--input", "empty"], "empty: holds no scan, expected"),
        (
            ["--input", "notes.txt"],
            r"notes.txt: expected a file with a whole scan \(.nii, .nii.gz, .nrrd, .mha\), a folder of them,",
        ),
        (["--input", "list.json"], "list.json: expected a folder or a datalist, but this is no valid JSON"),
        (["--input", "scan.nii.gz", "--run", ""], "the name of a model is empty, expected a path"),
        (["--input", "scan.nii.gz", "--run", "nowhere"], "nowhere: there is no such run folder"),
        (["--input", "scan.nii.gz", "--run", "empty"], "empty: there is neither checkpoint_best.pt nor .* train first"),
        (["--input", "scan.nii.gz", "--checkpoint", "no.pt"], "no.pt: there is no such checkpoint"),
        (
            ["--input", "scan.nii.gz", "--device", "abacus"],
            "device is 'abacus', expected auto, cpu, mps or a CUDA device",
        ),
        (["--input", "scan.nii.gz", "--device", "cpu", "--amp", "fp16"], "amp is fp16 on cpu.*use bf16 or off"),
        (["--input", "scan.nii.gz", "--batch-size", "-3"], "--batch-size is '-3', expected at least 0"),
        (["--input", "scan.nii.gz", "--keys", "no.csv"], "--keys no.csv: there is no such file; check the path"),
        (["--input", ".", "--split", "tesing"], r"\.: has no splits, expected a case list.* the split 'tesing'"),
    ],
)
def test_infer_names_what_is_wrong_with_its_words(
    words: list[str],
    message: str,
    scan: Path,
    trained_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("notes.txt").write_text("no scan")
    Path("list.json").write_text("{")
    line = error_of(infer, ["--run", trained_run, "--output", "out", *words], capsys)
    assert re.search(message, line), line
    assert not caplog.records  # a command prints them too
    assert not files_in(Path("out"))


def with_model(run: Path, folder: Path, settings: dict) -> Path:
    """A copy of a run whose record and whose best checkpoint say that its model has other settings."""
    shutil.copytree(run, folder)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["model"] |= settings
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    content = torch.load(folder / "checkpoint_best.pt", weights_only=True)
    content["settings"]["model"] |= settings
    (folder / "checkpoint_best.pt").unlink()  # it may share its bytes with checkpoint_last.pt
    torch.save(content, folder / "checkpoint_best.pt")
    return folder


def test_infer_names_a_checkpoint_of_another_architecture(
    scan: Path, trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = with_model(trained_run, tmp_path / "run", {"channels": [4, 16]})
    line = error_of(infer, ["--input", scan, "--output", tmp_path / "out", "--run", run], capsys)
    assert f"{run / 'checkpoint_best.pt'}: the weights are of another architecture than the model settings" in line
    assert re.search(r"\d+ of another shape: \S+ is \(.*\), expected \(", line)
    assert not files_in(tmp_path / "out")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"architecture": "None"}, r"model\.architecture is 'None', expected one of unet"),
        ({"channels": [4]}, r"model\.channels is \[4\], expected at least 2 levels"),
    ],
)
def test_infer_names_a_record_of_a_network_that_cant_be_built(
    setting: dict, message: str, scan: Path, trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = with_model(trained_run, tmp_path / "run", setting)
    line = error_of(infer, ["--input", scan, "--output", tmp_path / "out", "--run", run], capsys)
    assert re.search(message, line), line
    assert not files_in(tmp_path / "out")


@pytest.mark.parametrize("alone", [True, False])
def test_infer_names_a_damaged_checkpoint(
    alone: bool, scan: Path, trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(trained_run, tmp_path / "run"))
    checkpoint = run / "checkpoint_best.pt"
    truncate(checkpoint)
    model = ["--checkpoint", checkpoint] if alone else ["--run", run]
    line = error_of(infer, ["--input", scan, "--output", tmp_path / "out", *model], capsys)
    assert f"{checkpoint}: not a readable checkpoint, or damaged" in line
    assert not files_in(tmp_path / "out")


def test_infer_names_a_checkpoint_without_settings(
    scan: Path, trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = torch.load(trained_run / "checkpoint_best.pt", weights_only=True)["ema"]
    torch.save(weights, tmp_path / "weights.pt")
    words = ["--input", scan, "--output", tmp_path / "out", "--checkpoint", tmp_path / "weights.pt"]
    assert "give the folder of a run (--run)" in error_of(infer, words, capsys)


def test_infer_names_an_output_folder_that_cant_be_written(
    scan: Path, trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("a file, no folder")
    output = tmp_path / "file" / "out"  # root may write everywhere but below a file
    line = error_of(infer, ["--input", scan, "--output", output, "--run", trained_run], capsys)
    assert f"the output folder {output} can't be written (Not a directory); choose another --output" in line


# ---- train


@pytest.fixture
def data(cohort: Path, tmp_path: Path) -> Path:
    """A copy of the cohort, to be damaged, without its cache."""
    return Path(shutil.copytree(cohort, tmp_path / "data", ignore=shutil.ignore_patterns(".ncct_cta_cache")))


@pytest.fixture
def train_error(
    tiny_settings: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[[Path, Sequence[object]], str]:
    """Start a training that must fail and leave nothing but its log; gives the line that it says."""

    def run(datalist: Path, words: Sequence[object] = ()) -> str:
        output = tmp_path / "run"
        where = ["--data::datalist", datalist, "--train::output_dir", output]
        line = error_of(train, ["g_small", *tiny_settings, *where, *words], capsys)
        assert not [name for name in files_in(output) if name != "train.log"]
        assert not list(tmp_path.glob("data/.ncct_cta_cache/.tmp-*"))
        return line

    return run


@pytest.mark.parametrize(
    ("damage", "message"), [pytest.param(*pair, id=name) for name, pair in SCANS.items() if name != "missing"]
)
@pytest.mark.parametrize("name", [NCCT, CTA])
def test_train_names_what_is_wrong_with_a_scan(
    name: str, damage: Callable, message: str, data: Path, train_error: Callable
) -> None:
    damage(data / name)
    line = train_error(data)
    assert str(data / name) in line
    assert re.search(message, line)


@pytest.mark.parametrize("name", [NCCT, CTA, LUNG])
def test_train_names_a_missing_file(name: str, data: Path, train_error: Callable) -> None:
    (data / name).unlink()
    kind = name.split("_")[1].split(".")[0]
    assert f"case phantom000 of training: its {kind} {data / name} does not exist" in train_error(data)


def test_train_names_a_bad_scan_of_the_validation_before_it_starts(data: Path, train_error: Callable) -> None:
    truncate(data / "phantom002_cta.nii.gz")
    line = train_error(data)
    assert f"{data / 'phantom002_cta.nii.gz'}: not readable as NIfTI" in line


def test_train_names_volumes_of_other_shapes(data: Path, train_error: Callable) -> None:
    rewrite(data / CTA, lambda hu: hu[..., :-2])
    assert (
        "case phantom000: NCCT is (48, 48, 24), CTA is (48, 48, 22); "
        "resample them onto one grid (python -m ncct_cta.prepare does)"
    ) in train_error(data)


def test_train_names_volumes_in_other_places(data: Path, train_error: Callable) -> None:
    affine = nib.load(data / CTA).affine
    affine[2, 3] += 10.5
    rewrite(data / CTA, lambda hu: hu, affine)
    line = train_error(data)
    assert re.search(r"case phantom000: NCCT and CTA have one shape .* 10\.5 mm apart, .*resample them", line)


def test_train_names_an_empty_lung_mask(data: Path, train_error: Callable) -> None:
    rewrite(data / LUNG, np.zeros_like)
    assert f"{data / LUNG}: the mask is empty; expected at least one voxel above 0" in train_error(data)


def test_train_names_a_lung_mask_of_another_shape(data: Path, train_error: Callable) -> None:
    rewrite(data / LUNG, lambda mask: mask[1:])
    line = train_error(data)
    assert str(data / LUNG) in line
    assert re.search(r"is \(48, 48, 24\), .* is \(47, 48, 24\); resample them", line)


def test_train_names_a_ct_in_the_place_of_a_mask(data: Path, train_error: Callable) -> None:
    shutil.copy(data / NCCT, data / LUNG)
    assert f"{data / LUNG}: holds values down to" in train_error(data)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--train::num_epoch", "1"], "unknown setting train.num_epoch (did you mean num_epochs?)"),
        (["--trian::lr", "1"], "unknown section trian (did you mean train?)"),
        (["--train::num_epochs", "three"], "train.num_epochs is 'three', expected a whole number"),
        (["--train::lr", "-1"], "train.lr is -1, expected at least 0"),
        (["--train::amp", "fp16"], "amp is fp16 on cpu, which needs a CUDA device; use bf16 or off"),
        (["--train::device", "abacus"], "device is 'abacus', expected auto, cpu, mps or a CUDA device"),
        (["--data::patch_size", "[33, 32]"], "data.patch_size is [33, 32], expected multiples of 2"),
        (["--data::patch_size", "[32, 32"], "--data::patch_size is '[32, 32', which is no YAML"),
        (["lr", "1"], "unexpected argument 'lr'; settings are given as --section::key value"),
        (["--train::lr"], "--train::lr needs a value"),
        (["--data.datalist", "nowhere"], "unknown section data.datalist (did you mean data::datalist?)"),
        (["--pretrained_G", "/"], "/ is a folder, expected a checkpoint; of a run give /checkpoint_best.pt"),
        (["--data::datalist", "nowhere"], "nowhere: there is no such file or folder; check the path"),
    ],
)
def test_train_names_what_is_wrong_with_a_setting(
    words: list[str], message: str, cohort: Path, train_error: Callable
) -> None:
    assert message in train_error(cohort, words)


def test_train_names_every_wrong_setting_at_once(cohort: Path, train_error: Callable) -> None:
    line = train_error(cohort, ["--train::num_epoch", "1", "--train::lr", "fast", "--data::augment", "maybe"])
    for part in ("train.num_epoch ", "train.lr is 'fast'", "data.augment is 'maybe', expected true or false"):
        assert part in line


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("train: {num_epochs: 1\n", "mine.yaml"),
        ("- just\n- a list\n", "mine.yaml"),
        ("train: {lr: 1}\ntrain: {seed: 1}\n", "Duplicate key: `train`, expected each once"),
        ("train: [1, 2]\n", "section train is [1, 2], expected settings below it"),
    ],
)
def test_train_names_a_settings_file_that_is_none(
    content: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.yaml").write_text(content)
    assert message in error_of(train, [tmp_path / "mine.yaml"], capsys)


def test_train_names_the_presets_when_there_is_no_such_file(capsys: pytest.CaptureFixture[str]) -> None:
    line = error_of(train, ["g_smal"], capsys)
    assert re.search("there is no settings file g_smal; give a YAML file, .* one of the presets .*g_small", line)


def test_train_names_an_empty_split(data: Path, train_error: Callable) -> None:
    content = json.loads((data / "datalist.json").read_text())
    (data / "datalist.json").write_text(json.dumps({"testing": content["training"]}))
    assert "no training cases; list at least one under 'training'" in train_error(data)


def test_train_names_an_output_folder_that_cant_be_written(cohort: Path, tmp_path: Path, train_error: Callable) -> None:
    (tmp_path / "file").write_text("a file, no folder")
    output = tmp_path / "file" / "run"
    line = train_error(cohort, ["--train::output_dir", output])
    assert f"the output folder {output} can't be written (Not a directory); set another train.output_dir" in line


def test_train_names_a_cache_folder_that_cant_be_written(data: Path, tmp_path: Path, train_error: Callable) -> None:
    (tmp_path / "file").write_text("a file, no folder")
    line = train_error(data, ["--data::cache_dir", tmp_path / "file" / "cache"])
    assert "can't be written (Not a directory); set another data.cache_dir" in line


@pytest.mark.parametrize(
    ("damage", "words", "message"),
    [
        (truncate, [], "not a readable checkpoint, or damaged"),
        (lambda path: None, ["--model::channels", "[4, 16]"], "model.channels is [4, 16], expected [4, 8]"),
    ],
    ids=["damaged", "another_architecture"],
)
def test_train_names_a_checkpoint_that_it_cant_resume_from(
    damage: Callable,
    words: list[str],
    message: str,
    cohort: Path,
    trained_run: Path,
    tiny_settings: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = Path(shutil.copytree(trained_run, tmp_path / "run"))
    damage(run / "checkpoint_last.pt")
    before = (run / "checkpoint_last.pt").read_bytes()
    where = ["--data::datalist", cohort, "--train::output_dir", run, "--train::num_epochs", "2", "--resume"]
    line = error_of(train, ["g_small", *tiny_settings, *where, *words], capsys)
    assert f"{run / 'checkpoint_last.pt'}: " in line
    assert message in line
    assert (run / "checkpoint_last.pt").read_bytes() == before


# ---- the same as real processes


def stderr_of(*words: object) -> list[str]:
    done = subprocess.run([sys.executable, "-m", *map(str, words)], capture_output=True, timeout=300, check=False)
    stderr = done.stderr.decode()  # not as text: that would turn the progress bars' \r into line ends
    assert done.returncode == 2, stderr
    assert "Traceback" not in stderr
    return shown(stderr)


@pytest.mark.slow
def test_infer_as_a_process(scan: Path, trained_run: Path, tmp_path: Path) -> None:
    truncate(scan)
    output = tmp_path / "out"
    (line,) = stderr_of("ncct_cta.infer", "--input", scan, "--output", output, "--run", trained_run)
    assert re.fullmatch(rf"error: {scan}: .*cut short.*copy it again", line)
    assert not files_in(output)


@pytest.mark.slow
def test_train_as_a_process(data: Path, tiny_settings: list[str], tmp_path: Path) -> None:
    truncate(data / NCCT)
    where = ["--data::datalist", data, "--train::output_dir", tmp_path / "run"]
    (line,) = stderr_of("ncct_cta.train", "g_small", *tiny_settings, *where)
    assert re.fullmatch(rf"error: {data / NCCT}: .*cut short.*copy it again", line)


@pytest.mark.slow
def test_the_bundle_with_monais_own_workflow(tmp_path: Path) -> None:
    words = ["--train::num_epoch", "1", "--train::output_dir", tmp_path / "run"]
    lines = stderr_of("monai.bundle", "run", "training", "--config_file", bundle_config("train.yaml"), *words)
    assert (
        lines[-1] == "error: unknown setting train.num_epoch (did you mean num_epochs?)"
    )  # before it MONAI's warnings
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_bundle_with_a_preset(tmp_path: Path) -> None:
    preset = tmp_path / "mine.yaml"
    preset.write_text(
        "workflow_name: ncct_cta.train.workflow.SynthesisWorkflow\nconfig_file: train.yaml\n"
        f"train: {{num_epochs: many, output_dir: {tmp_path / 'run'}}}\nmodel: {{chanels: [4, 8]}}\n"
    )
    lines = stderr_of("monai.bundle", "run", "training", "--args_file", preset)
    assert lines[-1].startswith("error: ")
    assert "unknown setting model.chanels (did you mean channels?)" in lines[-1]
    assert "train.num_epochs is 'many', expected a whole number" in lines[-1]
    assert not (tmp_path / "run").exists()
