"""A metric is one function and one record: it then stands in every file, in the terminal's legend and in the report."""

from __future__ import annotations

import csv
import json
import math
import re
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ncct_cta.common.hu import HUWindow
from ncct_cta.evaluate.command import main
from ncct_cta.metrics import ComparedImages, Metric, catalogue, columns, register
from ncct_cta.metrics.__main__ import main as print_metrics
from ncct_cta.metrics.catalogue import METRICS
from ncct_cta.metrics.metric import EMPTY_REGION
from ncct_cta.metrics.ranges import range_name, range_title
from ncct_cta.metrics.segments import METRICS as SEGMENTS

WINDOW = HUWindow(-1000, 600)
CASE = "phantom003"  # the cohort's only test case


def median_absolute_error(images: ComparedImages, *, region: str) -> float:
    return float(np.median(np.abs(images.error_hu(region))))


MEDIAN = Metric(
    name="{region}_median_error_hu",
    compute=median_absolute_error,
    title="median absolute error, {region}",
    short="median",
    unit="HU",
    limits=(0, math.inf),
    better="lower",
    meaning="half of the voxels lie nearer to the CTA than this",
    missing=EMPTY_REGION,
)


@pytest.fixture
def median(monkeypatch: pytest.MonkeyPatch) -> Metric:
    """The metric, registered for one test."""
    monkeypatch.setattr(catalogue, "METRICS", list(catalogue.METRICS))
    register(MEDIAN)
    return MEDIAN


def scores(output: Path, method: str) -> dict[str, str]:
    with (output / "scores.csv").open() as file:
        return next(row for row in csv.DictReader(file) if row["method"] == method)


def expected_median(cohort: Path, region: str) -> float:
    ncct, cta, mask = (nib.load(cohort / f"{CASE}_{kind}.nii.gz").get_fdata() for kind in ("ncct", "cta", region))
    return float(np.median(np.abs(ncct - cta)[mask > 0]))


def test_a_metric_of_ones_own_stands_in_every_file(median: Metric, cohort: Path, tmp_path: Path) -> None:
    main(["--datalist", str(cohort), "--output", str(tmp_path)])
    row = scores(tmp_path, "identity")
    for region in ("lung", "vessel"):
        assert float(row[f"{region}_median_error_hu"]) == pytest.approx(expected_median(cohort, region))
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["columns"]["lung_median_error_hu"] == {
        "title": "median absolute error, lung", "unit": "HU", "better": "lower", "primary": False,
    }  # fmt: skip
    assert "median absolute error, vessels [HU]" in (tmp_path / "report.html").read_text()


@pytest.mark.slow
def test_other_processes_know_a_metric_of_ones_own(median: Metric, cohort: Path, tmp_path: Path) -> None:
    words = ["--datalist", str(cohort), "--split", "all", "--no-report", "--jobs"]
    for jobs in ("1", "2"):
        main([*words, jobs, "--output", str(tmp_path / jobs)])
    assert "body_median_error_hu" in scores(tmp_path / "1", "identity")
    assert (tmp_path / "1" / "scores.csv").read_bytes() == (tmp_path / "2" / "scores.csv").read_bytes()


def test_a_region_stands_together_with_a_metric_of_ones_own_in_it(median: Metric) -> None:
    names = [column.name for column in columns(WINDOW)]
    assert names.index("body_median_error_hu") == names.index("body_bias_hu") + 1


def test_a_name_is_given_once(median: Metric) -> None:
    with pytest.raises(ValueError, match="there is one of that name already"):
        register(median)


def test_every_record_is_complete() -> None:
    for metric in catalogue.METRICS:
        for words in (metric.title, metric.short, metric.meaning, metric.missing):
            assert words
            assert not words.endswith(".")
        assert metric.limits[0] < metric.limits[1]
    assert set(Counter(column.name for column in columns(WINDOW)).values()) == {1}


def test_a_title_states_region_and_range() -> None:
    titles = {column.name: column.title for column in columns(WINDOW)}
    assert titles["nonvessel_psnr_db_window_-1000_600"] == "PSNR [-1000, 600], body without vessels"
    assert range_title(WINDOW) == "[-1000, 600]"
    assert range_name(WINDOW) == "window_-1000_600"


def test_the_command_prints_every_metric_as_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    print_metrics([])
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if re.match(r"\| `\w+` \|", line)]
    names = [metric.name.format(region="REGION", range="RANGE") for metric in (*METRICS, *SEGMENTS)]
    assert [row.split("`")[1] for row in rows] == [*names, "body", "lung", "vessel", "nonvessel"]
    assert len({line.count("|") for line in lines[: len(names) + 2]}) == 1
    mae = "| `REGION_mae_hu` | MAE, REGION | HU | 0 to ∞ | lower is better | mean absolute error against the CTA |"
    assert lines[2].startswith(mae)
