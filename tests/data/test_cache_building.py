"""The cache is filled side by side, says what it takes first, and is the same however it was filled."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ncct_cta.common import bulk
from ncct_cta.common.errors import InputError
from ncct_cta.common.interrupts import from_python
from ncct_cta.data import cache_building, digests
from ncct_cta.data.cache_building import build_missing, need_of
from ncct_cta.data.cases import Case
from ncct_cta.data.paired_cases import TRAINING, VALIDATION, PairedCases
from ncct_cta.settings import DataConfig
from ncct_cta.transforms import default_preprocessing


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Digests are remembered at once: whether the cohort was written seconds or minutes ago changes nothing here."""
    monkeypatch.setattr(digests, "SETTLED_SECONDS", -1.0)


@pytest.fixture
def side_by_side(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Other processes from the second case on; notes which cases they are given."""
    given: list[list[str]] = []
    plain = cache_building.run_jobs

    def noted(jobs, *args, **kwargs):
        given.append([case.name for job in jobs for case in job.argument[1]])
        return plain(jobs, *args, **kwargs)

    monkeypatch.setattr(cache_building, "WORTH_SECONDS", -1.0)
    monkeypatch.setattr(cache_building, "run_jobs", noted)
    return given


def cases_in(cohort: Path, cache: Path, **settings) -> PairedCases:
    return PairedCases(str(cohort), cache_dir=str(cache), **settings)


def voxels(cases: PairedCases) -> dict[str, np.ndarray]:
    opened = cases.opened(TRAINING) + cases.opened(VALIDATION)
    return {f"{case.name} {key}": np.array(image) for case in opened for key, image in case.images.items()}


@pytest.mark.slow
def test_side_by_side_it_is_what_it_is_one_by_one(cohort, tmp_path, side_by_side):
    one, several = cases_in(cohort, tmp_path / "1", cache_jobs=1), cases_in(cohort, tmp_path / "2", cache_jobs=2)
    one.prepare(TRAINING, VALIDATION)
    assert side_by_side == [[]] * len(side_by_side)
    several.prepare(TRAINING, VALIDATION)
    assert max(map(len, side_by_side)) == 2
    assert voxels(one).keys() == voxels(several).keys()
    assert all(np.array_equal(image, voxels(several)[name]) for name, image in voxels(one).items())
    assert {path.name for path in (tmp_path / "1").iterdir()} == {path.name for path in (tmp_path / "2").iterdir()}


@pytest.mark.slow
def test_what_is_built_is_opened_without_reading_a_file_again(cohort, tmp_path, side_by_side, monkeypatch):
    cases_in(cohort, tmp_path, cache_jobs=2).prepare(TRAINING, VALIDATION)
    side_by_side.clear()

    def read(path: Path) -> bytes:
        raise AssertionError(f"{path} was read again")

    monkeypatch.setattr(digests, "content_digest", read)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    cases_in(cohort, tmp_path, cache_jobs=2).prepare(TRAINING, VALIDATION)
    assert not side_by_side
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_few_cases_are_built_here(cohort, tmp_path, side_by_side, monkeypatch):
    monkeypatch.setattr(cache_building, "WORTH_SECONDS", 1e6)
    cases_in(cohort, tmp_path, cache_jobs=2).prepare(TRAINING, VALIDATION)
    assert side_by_side == [[]] * len(side_by_side)


def test_a_python_program_is_not_run_again_by_fresh_processes(cohort, tmp_path, side_by_side):
    with from_python():
        cases_in(cohort, tmp_path).prepare(TRAINING, VALIDATION)
    assert side_by_side == [[]] * len(side_by_side)


def test_each_process_of_a_training_begins_with_cases_of_its_own(cohort, tmp_path, monkeypatch):
    cases = cases_in(cohort, tmp_path)
    listed = [*cases._cases(TRAINING), *cases._cases(VALIDATION)]
    opened: list[str] = []
    monkeypatch.setattr(cases.store, "open", lambda case: opened.append(case.name))
    build_missing(cases.store, listed, jobs=1, share=(1, 2))
    assert opened == [listed[1].name, listed[0].name, listed[2].name]


@pytest.mark.slow
def test_a_bad_case_is_named_and_the_others_are_built(cohort, tmp_path, side_by_side):
    data = tmp_path / "data"
    shutil.copytree(cohort, data, ignore=shutil.ignore_patterns(".*"))
    bad = sorted(data.glob("*_cta.nii.gz"))[1]
    bad.write_bytes(bad.read_bytes()[:-2000])
    with pytest.raises(InputError, match=bad.name):
        cases_in(data, tmp_path / "cache", cache_jobs=2).prepare(TRAINING, VALIDATION)
    assert len([path for path in (tmp_path / "cache").iterdir() if path.is_dir()]) == 2


def test_small_cases_share_a_process_and_fail_each_by_itself(cohort, tmp_path, side_by_side, monkeypatch):
    cases = cases_in(cohort, tmp_path, cache_jobs=2)
    listed = [*cases._cases(TRAINING), *cases._cases(VALIDATION)]
    bad = replace(listed[0], name="bad", cta=tmp_path / "missing.nii.gz")
    failures, found, _ = cache_building._build((cases.store, [bad, listed[1]]), lambda step: None)
    assert failures.keys() == {"bad"}
    assert "missing.nii.gz" in failures["bad"]
    assert cases.store.holds(listed[1])
    assert str(listed[1].cta) in found


def test_what_a_case_warns_of_is_logged_here(cohort, tmp_path, side_by_side, caplog, monkeypatch):
    def warned(jobs, worker, *, done, **options):
        for job in jobs:
            store, (case,) = job.argument
            store.open(case)
            record = logging.LogRecord(
                "ncct_cta.data.preparation", logging.WARNING, "", 0, f"of {case.name}", None, None
            )
            done(job.name, ({}, {}, [record]))
        return {}

    monkeypatch.setattr(cache_building, "run_jobs", warned)
    cases_in(cohort, tmp_path, cache_jobs=2).prepare(TRAINING, VALIDATION)
    assert len([record for record in caplog.records if record.getMessage().startswith("of ")]) == 2


def test_a_process_keeps_what_is_logged(cohort, tmp_path, monkeypatch):
    cases = cases_in(cohort, tmp_path)
    (case, *_) = cases._cases(TRAINING)
    plain = cases.store.open

    def warn(case: Case):
        logging.getLogger("ncct_cta.data.preparation").warning("case %s: doubtful", case.name)
        return plain(case)

    monkeypatch.setattr(cases.store, "open", warn)
    failures, found, records = cache_building._build((cases.store, [case]), lambda step: None)
    assert not failures
    assert [record.getMessage() for record in records] == [f"case {case.name}: doubtful"]
    assert found == cases.store.digests.new


def test_what_it_takes_is_said_before(cohort, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        cases_in(cohort, tmp_path / "new" / "cache").prepare(TRAINING, VALIDATION)
    assert "holds 0.0 GB; 3 cases to add take about 0.0 GB" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO):
        cases_in(cohort, tmp_path / "new" / "cache").prepare(TRAINING, VALIDATION)
    assert "to add" not in caplog.text


def test_it_grows_beyond_no_limit(cohort, tmp_path):
    message = r"3 cases to add take about 0\.0 GB, and data\.cache_gb is 0\.0005; raise it"
    with pytest.raises(InputError, match=message):
        cases_in(cohort, tmp_path / "cache", cache_gb=0.0005).prepare(TRAINING, VALIDATION)
    assert not (tmp_path / "cache").exists()
    cases_in(cohort, tmp_path / "cache", cache_gb=1.0).prepare(TRAINING, VALIDATION)
    cases_in(cohort, tmp_path / "cache", cache_gb=0.0005).prepare(TRAINING, VALIDATION)  # nothing is added


@pytest.mark.parametrize("spacing", [None, (5.0, 5.0, 5.0)])
def test_the_estimate_is_what_is_stored(cohort, tmp_path, spacing):
    cases = cases_in(cohort, tmp_path, preprocessing=default_preprocessing(DataConfig(spacing=spacing)).transforms)
    (case, *_) = cases._cases(TRAINING)
    assert cases._spacing() == spacing
    cases.store.open(case)
    stored = sum(path.stat().st_size for path in tmp_path.rglob("*.npy"))
    assert need_of(case, cases._spacing()).disk_gb * bulk.GIB == pytest.approx(stored, rel=0.1)


def test_a_file_that_cant_be_read_takes_nothing_and_is_named_later(tmp_path):
    assert need_of(Case("p", tmp_path / "missing_ncct.nii.gz"), None).disk_gb == 0
