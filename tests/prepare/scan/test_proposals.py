"""Pairs are proposed where there is one answer, and left to the user where there are several."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from ncct_cta.prepare.scan.findings import ERROR, Finding
from ncct_cta.prepare.scan.proposals import propose

NCCT = Finding("p1", "s1", "ok", study=1, spacing=(0.7, 0.7, 1.0), plane="axial", kernel="B30f", tag=False, blood=50.0)
CTA = replace(NCCT, series="s2", tag=True, blood=400.0)


def _rows(*findings: Finding) -> list[tuple[str, str, str, str]]:
    return [(row.case, row.ncct, row.cta, row.status) for row in propose(findings)[0]]


def test_the_only_two_of_a_study_are_a_pair() -> None:
    assert _rows(CTA, NCCT) == [("p1", "s1", "s2", "ok")]


def test_several_candidates_are_all_listed_the_likest_first_and_none_is_chosen() -> None:
    lung = replace(CTA, series="s3", kernel="B70f")
    thick = replace(CTA, series="s4", spacing=(0.7, 0.7, 5.0))
    rows = _rows(NCCT, lung, thick, CTA)
    assert rows == [("p1", "s1", "s2", "choose"), ("p1_2", "s1", "s4", "choose"), ("p1_3", "s1", "s3", "choose")]
    assert "1 NCCT and 3 CTA in the study" in propose([NCCT, lung, thick, CTA])[0][0].why


def test_the_measured_blood_decides_and_the_disagreement_is_said() -> None:
    lying = replace(CTA, tag=False, remark="the header says no contrast, the blood shows contrast (400 HU)")
    proposals, _ = propose([NCCT, lying])
    assert [(row.ncct, row.cta) for row in proposals] == [("s1", "s2")]
    assert "s2: the header says no contrast" in proposals[0].why


def test_each_study_has_its_own_pair() -> None:
    later = [replace(finding, series=f"{finding.series}b", study=2) for finding in (NCCT, CTA)]
    assert _rows(NCCT, CTA, *later) == [("p1", "s1", "s2", "ok"), ("p1_2", "s1b", "s2b", "ok")]


def test_across_studies_only_what_is_left_over_is_paired() -> None:
    cta = replace(CTA, study=2, taken=datetime(2020, 1, 5))
    ncct = replace(NCCT, taken=datetime(2020, 1, 2))
    proposals, _ = propose([ncct, cta])
    assert [(row.ncct, row.cta, row.status) for row in proposals] == [("s1", "s2", "ok")]
    assert "different studies, 3 days apart" in proposals[0].why
    more = replace(CTA, series="s9", study=3)
    assert _rows(NCCT, CTA, more) == [("p1", "s1", "s2", "ok")]


def test_patients_are_never_mixed() -> None:
    proposals, unpaired = propose([NCCT, replace(CTA, patient="p2")])
    assert not proposals
    assert unpaired == ["p1: 1 NCCT and 0 CTA, no pair", "p2: 0 NCCT and 1 CTA, no pair"]


def test_what_cannot_be_used_or_measured_is_no_candidate() -> None:
    unusable = [
        replace(CTA, series="s3", status=ERROR),
        replace(CTA, series="s4", plane="coronal"),
        replace(CTA, series="s5", blood=None),
    ]
    assert _rows(NCCT, CTA, *unusable) == [("p1", "s1", "s2", "ok")]


def test_case_names_are_unique() -> None:
    nccts = [replace(NCCT, series=f"n{number}") for number in range(3)]
    names = [row[0] for row in _rows(*nccts, CTA, replace(CTA, series="s3"))]
    assert len(set(names)) == len(names) == 6


def test_one_id_of_several_people_is_never_a_silent_choice() -> None:
    ((pair,), _) = propose([replace(NCCT, doubtful=True), replace(CTA, doubtful=True)])
    assert pair.status == "choose"
    assert pair.why.startswith("one patient ID, several names or birth dates")
