"""The report's part on uncertainty."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from ncct_cta.common.limits import UNSEEN
from ncct_cta.evaluate.report.page import write_report
from ncct_cta.evaluate.results import Evaluation
from ncct_cta.evaluate.uncertainty.judging import judge_uncertainty
from ncct_cta.volumes.nifti import read_ct
from ncct_cta.volumes.nifti_write import write_like


def with_maps(evaluation: Evaluation, folder: Path) -> Evaluation:
    """G2's predictions beside maps that are half of its errors, the last case's for validation."""
    method = evaluation.methods[-1]
    files = {}
    for case in evaluation.cases:
        ncct, cta, made = (read_ct(path) for path in (case.ncct, case.cta, method.predictions[case.name]))
        files[case.name] = folder / f"{case.name}_syncta.nii.gz"
        write_like(made.array, ncct, files[case.name])
        error = np.abs(made.array.astype(np.int16) - cta.array) // 2
        write_like(error.astype(np.int16), ncct, folder / f"{case.name}_sd.nii.gz")
    methods = (*evaluation.methods[:-1], replace(method, predictions=files))
    scored = replace(evaluation, methods=methods, cases=evaluation.cases[:-1])
    return replace(scored, uncertainty=judge_uncertainty(scored, evaluation.cases[-1:], folder / "out"))


def test_the_report_shows_map_reliability_and_coverage(evaluation: Evaluation, tmp_path: Path) -> None:
    judged = with_maps(evaluation, tmp_path)
    write_report(judged, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    section = re.search(r'<section id="uncertainty">.*?</section>', text, re.DOTALL).group(0)
    assert section.count('<img src="data:image/') == 2
    assert "map of uncertainty of phantom000, G2" in section
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', section)
    assert [name for name, _ in rows] == ["mean", *(case.name for case in judged.cases)]
    held = re.findall(r"<td>(.*?)</td>", rows[0][1])
    assert held[0] == f"{100 * judged.uncertainty[0].coverage('vessel'):.1f}"
    assert '<a href="#uncertainty">' in text


def test_without_maps_there_is_no_such_part_and_the_limits_are_said(evaluation: Evaluation, tmp_path: Path) -> None:
    write_report(evaluation, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'id="uncertainty"' not in text
    assert html.escape(UNSEEN) in text.replace("&#39;", "&#x27;")
