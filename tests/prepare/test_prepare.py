"""``prepare pairs`` as a user runs it: what is written, restarted, refused and left out."""

from __future__ import annotations

import csv
import gzip
import json
import os
import pickle
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dicom_phantom import count_header_reads, write_series
from pydicom import Dataset, dcmread

from ncct_cta.common import folders
from ncct_cta.common.bulk import Job, run_jobs
from ncct_cta.common.folders import locked_folder
from ncct_cta.common.hu import AIR_HU
from ncct_cta.data import read_case_list
from ncct_cta.dicom import headers
from ncct_cta.dicom.pseudonyms import KeyTable
from ncct_cta.phantom.cohort import write_cohort
from ncct_cta.prepare import cohort
from ncct_cta.prepare.case_files import finished_record
from ncct_cta.prepare.command import main
from ncct_cta.prepare.pairs.grids import crop
from ncct_cta.prepare.pairs.one_pair import prepare_case, prepare_pair
from ncct_cta.prepare.pairs.pair_list import ScanFinder, ScanSource, read_pairs
from ncct_cta.prepare.pairs.task import PreparationSettings, Task
from ncct_cta.volumes.nifti import read_ct, read_mask

NAME = "PLANTEDNAME^JOHANNES"  # too long to stand in a picture's base64 by chance


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two aligned phantoms under a patient's name, known by pseudonyms, in a folder with its list."""
    folder = tmp_path_factory.mktemp("scans")
    write_cohort(folder / NAME, cases=2, seed=7, shape=(40, 40, 20), spacing=(8.4, 8.4, 12.6))
    keys = KeyTable()
    patients = [keys.add_patient(f"{NAME} {index}", name=NAME) for index in range(2)]
    series = {
        (index, kind): keys.add_series(
            f"{index} {kind}", patient=patients[index], source=folder / NAME / f"phantom{index:03d}_{kind}.nii.gz"
        )
        for index in range(2)
        for kind in ("ncct", "cta")
    }
    keys.write(folder / "keys.csv")
    rows = [f"{patients[i]},{patients[i]},{series[i, 'ncct']},{series[i, 'cta']},ok," for i in range(2)]
    rows += [f"wrong,{patients[0]},{series[0, 'ncct']},{series[1, 'cta']},ok,"]
    rows += [f"bad,{patients[1]},{series[1, 'ncct']},{NAME}/missing.nii.gz,ok,", "open,x,a,b,choose,two CTAs"]
    (folder / "pairs.csv").write_text("case,patient,ncct,cta,status,why\n" + "\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def prepared(scans: Path) -> Path:
    """What the command wrote of them; read only."""
    with pytest.raises(SystemExit) as ended:
        run(scans, scans / "out")
    assert ended.value.code == 3
    return scans / "out"


def run(scans: Path, output: Path, *words: str, cases: Sequence[int] = ()) -> None:
    """Rigid only, which is quick; of some rows of the list, if they are given."""
    pairs = scans / "pairs.csv"
    if cases:
        lines = pairs.read_text().splitlines(keepends=True)
        pairs = scans / f"pairs_{output.name}.csv"
        pairs.write_text(lines[0] + "".join(lines[1 + case] for case in cases))
    main(["pairs", str(pairs), "--output", str(output), "--no-deformable", "--jobs", "2", *words])


def names(folder: Path) -> list[str]:
    with open(folder.parent / "pairs.csv", newline="") as file:
        return [row["case"] for row in csv.DictReader(file)]


def test_good_pairs_are_in_the_case_list_with_all_their_images(prepared: Path) -> None:
    found = [case for cases in read_case_list(prepared).values() for case in cases]
    assert sorted(case.name for case in found) == sorted(names(prepared)[:2])
    for case in found:
        ncct = read_ct(case.ncct)
        assert case.cta is not None
        assert case.lung is not None
        assert case.vessel is not None
        vessel = read_mask(case.vessel, ncct) > 0
        assert (read_ct(case.cta).array[vessel] - ncct.array[vessel]).mean() > 100
        assert read_mask(case.lung, ncct).mean() > 0.05


def test_the_cta_of_another_patient_is_left_out_and_shown_first(prepared: Path) -> None:
    with open(prepared / "qc.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["flagged", "good", "good"]
    assert "lungs' overlap" in rows[0]["flags"]
    page = (prepared / "qc.html").read_text()
    assert [page.index(f"<h2>{row['case']}") for row in rows] == sorted(
        page.index(f"<h2>{row['case']}") for row in rows
    )
    assert page.count("data:image/png;base64,") == 3
    assert "http://" not in page
    assert "https://" not in page


def test_a_swapped_pair_is_left_out_with_its_reason(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    swapped = f"case,ncct,cta\na,{NAME}/phantom000_cta.nii.gz,{NAME}/phantom000_ncct.nii.gz\n"
    (scans / "swapped.csv").write_text(swapped)
    main(["pairs", str(scans / "swapped.csv"), "--output", str(tmp_path), "--no-deformable"])
    assert "flagged, left out: a: the NCCT's blood in HU is" in capsys.readouterr().out
    assert ">vessels [ml]</th>" in (tmp_path / "qc.html").read_text()


def test_a_bad_case_is_in_the_failures_with_its_remedy(prepared: Path) -> None:
    with open(prepared / "failures.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["case"] for row in rows] == ["bad"]
    assert rows[0]["reason"].startswith("bad cta: what the list gives is neither")
    assert rows[0]["remedy"].startswith("correct the path")


def test_no_output_holds_the_patients_name(scans: Path, prepared: Path, capfd: pytest.CaptureFixture[str]) -> None:
    keys = scans / "damaged"
    shutil.copytree(scans, keys, ignore=shutil.ignore_patterns("out", "damaged"))
    (keys / NAME / "phantom000_ncct.nii.gz").write_bytes(b"damaged")
    lines = (keys / "pairs.csv").read_text().splitlines()
    row = f"hand,p,{NAME}/phantom000_ncct.nii.gz,{NAME}/phantom000_cta.nii.gz,ok,"
    (keys / "pairs.csv").write_text(f"{lines[0]}\n{row}\n")
    with pytest.raises(SystemExit):
        main(["pairs", str(keys / "pairs.csv"), "--output", str(keys / "out")])
    written = capfd.readouterr()
    texts = [written.out.encode(), written.err.encode()]
    for output in (prepared, keys / "out"):
        for path in (path for path in output.rglob("*") if path.is_file()):
            content = path.read_bytes()
            texts += [str(path.relative_to(output)).encode(), content]
            texts += [gzip.decompress(content)] if path.suffix == ".gz" else []
    assert b"hand ncct: not readable as NIfTI" in b"".join(texts)
    assert not [text[:200] for text in texts if b"PLANTEDNAME" in text or b"JOHANNES" in text]


def test_a_second_run_does_nothing_again(scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(scans, tmp_path, cases=[0])
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.nii.gz")}
    run(scans, tmp_path, cases=[0])
    assert "(1 finished earlier)" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.nii.gz")}
    run(scans, tmp_path, "--keep-grid", cases=[0])  # other settings
    assert all(path.stat().st_mtime_ns != time for path, time in before.items())


@pytest.fixture
def flat(scans: Path, tmp_path: Path) -> Path:
    """The first pair as two DICOM series in one folder, ``flat``, beside their key table and list."""
    keys = KeyTable()
    patient = keys.add_patient("ID")
    series = []
    for kind in ("ncct", "cta"):
        hu = read_ct(scans / NAME / f"phantom000_{kind}.nii.gz").array.clip(-1024)
        files = write_series(tmp_path / "flat", hu, place, PixelSpacing=[8.4, 8.4], SliceThickness=12.6)
        uid = dcmread(files[0]).SeriesInstanceUID
        series.append(keys.add_series(uid, patient=patient, source=tmp_path / "flat"))
    keys.write(tmp_path / "keys.csv")
    (tmp_path / "pairs.csv").write_text(f"case,ncct,cta\na,{','.join(series)}\n")
    return tmp_path


def test_what_else_the_folder_holds_costs_no_memory_and_no_second_run(flat: Path, capsys) -> None:
    command = ["pairs", str(flat / "pairs.csv"), "--output", str(flat / "out"), "--no-deformable"]
    with open(flat / "flat" / "another patient's", "wb") as file:
        file.truncate(2**33)
    main([*command, "--memory-gb", "2"])
    write_series(flat / "flat" / "another patient", PatientID="other")
    main([*command, "--memory-gb", "2"])
    assert "1 of 1 pairs are in" in (printed := capsys.readouterr().out)
    assert "(1 finished earlier)" in printed


def test_a_case_is_sent_with_its_headers_and_reads_none_again(flat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finder = ScanFinder(flat)
    pair = read_pairs(flat / "pairs.csv").pairs[0]
    sources = [finder.find(given, case="a", kind=kind) for kind, given in (("ncct", pair.ncct), ("cta", pair.cta))]
    sent = pickle.dumps(Task("a", "p", flat / "out", PreparationSettings(deformable=False), *sources))
    assert len(sent) < 500 * sum(len(source.files) for source in sources)  # bytes: it grows with the cohort
    reads = count_header_reads(monkeypatch, headers)
    prepare_case(pickle.loads(sent))
    assert not reads
    assert read_ct(flat / "out" / "a_ncct.nii.gz").shape == (40, 40, 20)


def place(z: int, dataset: Dataset) -> None:
    dataset.ImagePositionPatient = [0, 0, z * 12.6]


def test_ctrl_c_is_a_line_and_exit_status_130(scans: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cohort, "run_jobs", interrupt)
    with pytest.raises(SystemExit) as ended:
        run(scans, tmp_path, cases=[0])
    assert ended.value.code == 130
    assert capsys.readouterr().err.strip().startswith("stopped by Ctrl-C: run the same command again")


def test_two_processes_do_not_prepare_into_one_folder(scans: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(folders, "ORPHANS_SECONDS", 0.1)
    with locked_folder(tmp_path), pytest.raises(SystemExit):
        run(scans, tmp_path, cases=[0])
    assert f"another process is writing to {tmp_path}; wait until it ends" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_flagged_case_can_be_accepted_without_work(scans: Path, prepared: Path, tmp_path: Path) -> None:
    shutil.copytree(prepared, tmp_path / "out")
    record = tmp_path / "out" / "qc" / "wrong.json"
    before = record.stat().st_mtime_ns
    run(scans, tmp_path / "out", "--accept", "wrong", cases=[0, 2])
    entries = json.loads((tmp_path / "out" / "datalist.json").read_text())
    assert "wrong" in {entry["case"] for split in entries.values() for entry in split}
    assert record.stat().st_mtime_ns == before
    assert "accepted" in (tmp_path / "out" / "qc.csv").read_text()


def test_two_scans_of_a_patient_are_in_one_split(scans: Path, prepared: Path, tmp_path: Path) -> None:
    shutil.copytree(prepared, tmp_path / "out")
    run(scans, tmp_path / "out", "--accept", "wrong", cases=[0, 1, 2])
    entries = json.loads((tmp_path / "out" / "datalist.json").read_text())
    splits = [{entry["patient"] for entry in split} for split in entries.values()]
    assert sum(map(len, splits)) == 2


@pytest.mark.parametrize("words", [["--spacing", "1", "1", "0"], ["--split", "1", "1", "1"], ["--jobs", "0"]])
def test_an_option_that_cannot_be_used_is_refused_in_a_line(
    scans: Path, tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(scans, tmp_path, *words)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def task_of(scans: Path, output: Path, **settings: object) -> Task:
    sources = [ScanSource(scans / NAME / f"phantom000_{kind}.nii.gz", None, f"s{kind}") for kind in ("ncct", "cta")]
    return Task("a", "p", output, PreparationSettings(deformable=False, **settings), *sources)  # type: ignore[arg-type]


def test_keep_grid_keeps_the_grid_exactly(scans: Path, tmp_path: Path) -> None:
    task = task_of(scans, tmp_path, keep_grid=True)
    prepare_case(task)
    source = read_ct(task.ncct.path)
    for kind in ("ncct", "cta"):
        written = read_ct(task.image(kind))
        assert written.shape == source.shape
        np.testing.assert_array_equal(written.affine, source.affine)
    read_mask(task.image("lung"), source)
    np.testing.assert_array_equal(read_ct(task.image("ncct")).array, source.array)


def test_without_it_the_pair_is_cropped_to_what_both_show(scans: Path) -> None:
    ncct, cta = (read_ct(scans / NAME / f"phantom000_{kind}.nii.gz") for kind in ("ncct", "cta"))
    short = crop(cta, (slice(4, 40), slice(0, 40), slice(0, 16)))
    found = prepare_pair(ncct, short, PreparationSettings(deformable=False))
    first = np.linalg.inv(ncct.affine) @ found.ncct.affine[:, 3]
    np.testing.assert_allclose(first[:3], (4, 0, 0), atol=1.01)
    np.testing.assert_allclose(found.ncct.shape, (36, 40, 16), atol=1.01)
    assert (found.images["cta"] != AIR_HU).mean() > 0.9


def test_spacing_resamples_both(scans: Path, tmp_path: Path) -> None:
    task = task_of(scans, tmp_path, spacing=(10.0, 9.0, 6.3))
    prepare_case(task)
    ncct, cta = (read_ct(task.image(kind)) for kind in ("ncct", "cta"))
    np.testing.assert_allclose(ncct.spacing, (10.0, 9.0, 6.3), rtol=0.1)
    assert abs(ncct.array.astype(float) - cta.array).mean() < 60


def killed_while_renaming(task: Task, report: Callable[[str], None]) -> None:
    """Prepare a case in a process that is killed when two of its files have their names."""
    rename = os.replace

    def rename_or_die(source: Path, target: Path) -> None:
        if Path(target) == task.image("lung"):
            os.kill(os.getpid(), signal.SIGKILL)
        rename(source, target)

    os.replace = rename_or_die  # type: ignore[assignment]  # the process dies before it could matter to others
    prepare_case(task, report)


def test_a_killed_process_leaves_no_half_case(scans: Path, tmp_path: Path) -> None:
    finished, task = task_of(scans, tmp_path), task_of(scans, tmp_path, keep_grid=True)
    prepare_case(finished)
    failures = run_jobs([Job("a", task, 1.0)], killed_while_renaming, processes=1, memory_gb=2.0)
    assert "SIGKILL" in failures["a"]
    # Files of both stand side by side now: neither counts as finished, and each is whole.
    assert finished_record(finished)[0] is None
    assert finished_record(task)[0] is None
    for kind in ("ncct", "cta"):
        read_ct(task.image(kind))
    assert (tmp_path / ".a.partial").is_dir()
    prepare_case(task)
    assert finished_record(task)[0] is not None
    assert not (tmp_path / ".a.partial").exists()


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "cut short": ("{case}_cta.nii.gz", _cut, "{case}_cta.nii.gz is missing or not as it was written"),
    "changed": ("{case}_lung.nii.gz", _flip, "{case}_lung.nii.gz is missing or not as it was written"),
    "missing": ("{case}_vessel.nii.gz", Path.unlink, "{case}_vessel.nii.gz is missing or not as it was written"),
    "a cut picture": ("qc/{case}.png", _cut, "{case}.png is missing or not as it was written"),
    "a cut record": ("qc/{case}.json", _cut, "its record can't be read"),
    "no record": ("qc/{case}.json", lambda path: path.write_text("[]"), "its record can't be read"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_case_is_prepared_anew_with_a_line(
    scans: Path, prepared: Path, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(prepared, tmp_path / "out")
    case = names(prepared)[0]
    name, spoil, problem = DAMAGES[damage]
    spoil(tmp_path / "out" / name.format(case=case))
    run(scans, tmp_path / "out", cases=[0, 1])
    assert caplog.messages == [f"case {case}: {problem.format(case=case)}; it is prepared anew"]
    for file in (f"{case}_{kind}.nii.gz" for kind in ("ncct", "cta", "lung", "vessel")):
        assert (tmp_path / "out" / file).read_bytes() == (prepared / file).read_bytes()


def test_a_case_that_was_copied_is_done_all_the_same(scans: Path, prepared: Path, tmp_path: Path, capsys) -> None:
    shutil.copytree(prepared, tmp_path / "out", copy_function=shutil.copyfile)  # new times, the same content
    run(scans, tmp_path / "out", cases=[0])
    assert "(1 finished earlier)" in capsys.readouterr().out


def test_the_steps_of_a_case_are_told(scans: Path, tmp_path: Path) -> None:
    steps: list[str] = []
    prepare_case(task_of(scans, tmp_path), steps.append)
    assert steps == ["reading", "finding the lungs", "registering", "measuring", "resampling", "writing"]


def test_what_a_stopped_case_has_left_is_removed(scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(jobs: Sequence[Job], *_: object, **__: object) -> None:
        jobs[0].argument.partial.mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(cohort, "run_jobs", interrupt)
    with pytest.raises(SystemExit):
        run(scans, tmp_path, cases=[0])
    assert not list(tmp_path.glob(".*.partial"))


def test_images_that_are_left_out_of_a_series_are_named(flat: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = sorted((flat / "flat").iterdir())[0]  # the last slice of a series
    dataset = dcmread(path)
    del dataset.ImagePositionPatient
    dataset.save_as(path)
    main(["pairs", str(flat / "pairs.csv"), "--output", str(flat / "out"), "--no-deformable"])
    assert any("left out of the series: image 20 (no ImagePositionPatient)" in message for message in caplog.messages)


def test_an_unforeseen_fault_is_the_cases_own(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def find(finder: ScanFinder, given: str, *, case: str, kind: str) -> ScanSource:
        if case == "wrong":
            raise ZeroDivisionError(NAME)
        return found(finder, given, case=case, kind=kind)

    found = ScanFinder.find
    monkeypatch.setattr(ScanFinder, "find", find)
    with pytest.raises(SystemExit):
        run(scans, tmp_path, cases=[0, 2])
    printed = capsys.readouterr().out
    assert "1 of 2 pairs are in" in printed
    assert "failed: wrong: a fault of this software (ZeroDivisionError in test_prepare.py" in printed


@pytest.mark.slow
def test_a_cluster_prepares_the_same_and_leaves_finished_cases_alone(scans, prepared, tmp_path):
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None, "memory_limit": "8GB"}
    with distributed.LocalCluster(**options) as cluster:
        written = []
        for _ in range(2):
            with pytest.raises(SystemExit) as ended:
                run(scans, tmp_path / "out", "--scheduler", cluster.scheduler_address)
            assert ended.value.code == 3
            written.append({path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.nii.gz")})
    assert written[0] == written[1] != {}
    for path in prepared.glob("*.nii.gz"):
        images = (nib.load(each / path.name).dataobj for each in (tmp_path / "out", prepared))
        assert np.array_equal(*map(np.asarray, images))
    assert (tmp_path / "out" / "failures.csv").read_text() == (prepared / "failures.csv").read_text()
