from __future__ import annotations

import html
import json
import re
from collections import Counter
from dataclasses import replace

import pytest
from made_evaluation import evaluation_of, log_rows, predict, write_log

from ncct_cta.common.errors import InputError
from ncct_cta.data import Case
from ncct_cta.evaluate.report.page import write_report
from ncct_cta.evaluate.report.shown_cases import MOST_VIEWED, rank_cases, viewed_cases
from ncct_cta.evaluate.results import Evaluation

NASTY = '</script><b onload="x">&{{ 7 * 7 }}'


@pytest.fixture(scope="module")
def page(evaluation, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(evaluation, path)
    return path.read_text(encoding="utf-8")


def viewer_data(text: str) -> dict:
    return json.loads(re.search(r'id="viewer-data">(.*?)</script>', text, re.DOTALL).group(1))


def imaginary(count: int, evaluation: Evaluation) -> Evaluation:
    """An evaluation of many cases, none of which is read; the later a case, the larger its error."""
    first = evaluation.cases[0]
    return evaluation_of([replace(first, name=f"c{i:02d}") for i in range(count)], {"identity": {}, "G": {}})


def test_the_page_says_what_it_is(page, evaluation):
    assert "for research, not for diagnosis" in page
    assert "4 methods on 4 cases" in page
    assert evaluation.remarks[0] in page


def test_every_case_and_method_can_be_viewed(page, evaluation):
    data = viewer_data(page)
    assert data["names"] == ["NCCT", "HU remap", "G", "G2", "CTA"]
    assert len(data["cases"]) == len(evaluation.cases)
    for case in data["cases"]:
        assert len(case["volumes"]) == len(data["names"])
        for volume in (*(volume["id"] for volume in case["volumes"]), case["region"]):
            assert page.count(f'id="{volume}"') == 1
    for case in evaluation.cases:
        assert page.count(f'alt="NCCT, prediction, CTA and errors of {case.name}"') == 1


def test_the_worst_case_opens_first_and_the_median_is_next(page):
    labels = re.findall(r'<option value="\d+">(.*?)</option>', page)
    assert [label.split(",")[0] for label in labels[:2]] == ["worst: phantom003", "median: phantom001"]


def test_nothing_is_fetched(page):
    assert "default-src 'none'" in page
    assert not re.search(r"""(src|href|action)\s*=\s*["']?(?!["']|data:|#)""", page)
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|import\(", page)


def test_ids_are_unique(page):
    ids = Counter(re.findall(r'\sid="([^"]+)"', page))
    assert max(ids.values()) == 1


def test_names_are_escaped(cases, tmp_path):
    nasty = [replace(cases[0], name=NASTY)]
    predictions = {name: predict(nasty, name, 0.5, tmp_path) for name in ("identity", NASTY)}
    write_report(evaluation_of(nasty, predictions, remarks=(NASTY,)), tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<b onload" not in text
    assert html.escape(NASTY, quote=False).split("&amp;")[0] in text.replace("&#34;", '"')
    assert "{{ 7 * 7 }}" in text  # not evaluated
    assert viewer_data(text)["names"] == ["NCCT", NASTY, "CTA"]


def test_the_file_stays_below_its_limit_with_many_methods(cases, tmp_path):
    predictions = {"identity": predict(cases, "identity", 0, tmp_path)}
    predictions |= {f"method {i}": predict(cases, "", i / 10, tmp_path) for i in range(1, 9)}
    sizes = []
    for limit in (10**8, 1_500_000, 1_250_000):
        write_report(evaluation_of(cases, predictions), tmp_path / "report.html", limit_bytes=limit)
        sizes.append((tmp_path / "report.html").stat().st_size)
    free, large, small = sizes
    assert free > 1_500_000 >= large > 1_250_000 >= small > 900_000


def test_a_limit_without_room_for_the_viewer_is_refused(evaluation, tmp_path):
    with pytest.raises(ValueError, match="raise the limit"):
        write_report(evaluation, tmp_path / "report.html", limit_bytes=300_000)
    assert not list(tmp_path.iterdir())


def test_curves_are_shown_for_methods_with_a_run_alone(cases, evaluation, page, tmp_path):
    assert 'id="training"' not in page
    write_log(tmp_path, log_rows(0.75, 0.75))
    with_run = replace(
        evaluation,
        cases=evaluation.cases[:1],
        methods=(*evaluation.methods[:3], replace(evaluation.methods[3], run=tmp_path)),
    )
    write_report(with_run, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert re.findall(r"<h3>(.*?)</h3>", text) == ["G2"]
    assert "sits near 3/4" in text


def test_baselines_alone_and_cases_without_masks_make_a_report(cases, tmp_path):
    bare = [Case(case.name, case.ncct, case.cta) for case in cases[:2]]
    write_report(evaluation_of(bare, {"identity": predict(bare, "identity", 0, tmp_path)}), tmp_path / "report.html")
    assert viewer_data((tmp_path / "report.html").read_text(encoding="utf-8"))["names"] == ["NCCT", "CTA"]


def test_a_damaged_prediction_is_bad_input_and_leaves_no_page(evaluation, tmp_path):
    (tmp_path / "damaged.nii.gz").write_bytes(b"not a NIfTI")
    files = {case.name: tmp_path / "damaged.nii.gz" for case in evaluation.cases}
    broken = replace(evaluation, methods=(*evaluation.methods[:3], replace(evaluation.methods[3], predictions=files)))
    with pytest.raises(InputError, match=r"damaged\.nii\.gz"):
        write_report(broken, tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["damaged.nii.gz"]


def test_cases_are_ranked_by_the_first_trained_methods_vessels(evaluation):
    ranked = rank_cases(imaginary(5, evaluation))
    assert [found.label.split(",")[0] for found in ranked] == ["worst: c04", "c03", "median: c02", "c01", "c00"]
    assert ranked[0].label == "worst: c04, vessels 130.0 HU with G"


def test_a_case_without_a_figure_comes_last(evaluation):
    rows = tuple(
        {**row, "vessel_mae_hu": float("nan")} if row["case"] == "phantom003" else row for row in evaluation.rows
    )
    last = rank_cases(replace(evaluation, rows=rows))[-1]
    assert last.label == "phantom003, vessels n/a HU with G"


@pytest.mark.parametrize("count", [1, 2, 5, MOST_VIEWED, 30])
def test_many_cases_are_represented_by_worst_median_and_some_of_every_rank(evaluation, count):
    ranked = rank_cases(imaginary(count, evaluation))
    viewed = viewed_cases(ranked)
    assert len(viewed) == len({found.rank for found in viewed})
    assert min(count, MOST_VIEWED - 1) <= len(viewed) <= MOST_VIEWED
    assert count > MOST_VIEWED or len(viewed) == count
    assert viewed[0].rank == 0
    assert count < 3 or viewed[1].label.startswith("median")
    assert ranked[-1] in viewed
