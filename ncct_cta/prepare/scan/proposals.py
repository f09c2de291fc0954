"""Which NCCT and which CTA could make a pair; if there are several possibilities, the user chooses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from .findings import AXIAL, OK, Finding

CHOOSE = "choose"
DOUBT = "one patient ID, several names or birth dates: see in keys.csv whether both scans are of one person"


@dataclass(frozen=True)
class Proposal:
    """One row of ``pairs.csv``.

    Args:
        case: unique name: the patient's pseudonym, with ``_2``, ``_3`` for further rows.
        patient: pseudonym.
        ncct: the series' pseudonym; a user may write a path instead.
        cta: the same.
        status: ``ok``: used; ``choose``: one of several candidates, or a doubtful one; not used until the user sets it
            to ok.
        why: in plain words.
    """

    case: str
    patient: str
    ncct: str
    cta: str
    status: str
    why: str


def propose(findings: Sequence[Finding]) -> tuple[list[Proposal], list[str]]:
    """Propose pairs of axial chest CTs without and with contrast in the blood, as measured, patient by patient.

    Within a study the only NCCT and the only CTA are a pair. What is left over of a patient is matched across studies.
    Where several are possible all are given, best first, with the status ``choose``; it has too what may be If several
    are possible, all are listed, best first, with the status ``choose``, and so are scans that may belong to several
    people under one ID.

    Returns:
        The pairs, and a sentence for every patient with usable series but no pair.
    """
    proposals: list[Proposal] = []
    unpaired: list[str] = []
    by_patient: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        if finding.status == OK and finding.plane in ("", AXIAL) and finding.enhanced is not None:
            by_patient[finding.patient].append(finding)
    for patient, members in sorted(by_patient.items()):
        pairs = _pairs_of(members)
        for number, (ncct, cta, status, why) in enumerate(pairs, start=1):
            case = patient if number == 1 else f"{patient}_{number}"
            proposals.append(Proposal(case, patient, ncct.series, cta.series, status, why))
        if not pairs:
            unpaired.append(f"{patient}: {_counted(members)}, no pair")
    return proposals, unpaired


def _pairs_of(members: Sequence[Finding]) -> list[tuple[Finding, Finding, str, str]]:
    by_study: dict[int, list[Finding]] = defaultdict(list)
    for finding in members:
        by_study[finding.study].append(finding)
    pairs: list[tuple[Finding, Finding, str, str]] = []
    left_over: list[Finding] = []
    for study in sorted(by_study):
        found = _combine(by_study[study], "the study" if study else "the folder")
        pairs += found
        left_over += [] if found else by_study[study]
    return pairs + _combine(left_over, "studies without a pair of their own")


def _combine(members: Sequence[Finding], where: str) -> list[tuple[Finding, Finding, str, str]]:
    nccts, ctas = ([finding for finding in members if finding.enhanced is kind] for kind in (False, True))
    candidates = sorted(product(nccts, ctas), key=lambda pair: _unlikeness(*pair))
    doubt = f"{DOUBT}; " if any(finding.doubtful for finding in members) else ""
    if len(candidates) == 1 and not doubt:
        return [(*candidates[0], OK, _description(*candidates[0]))]
    choice = f"{doubt}{_counted(members)} in {where}: set status to ok for the pair that you want; "
    return [(ncct, cta, CHOOSE, choice + _description(ncct, cta)) for ncct, cta in candidates]


def _counted(members: Sequence[Finding]) -> str:
    without = sum(finding.enhanced is False for finding in members)
    return f"{without} NCCT and {len(members) - without} CTA"


def _unlikeness(ncct: Finding, cta: Finding) -> tuple[float, ...]:
    """Small for series that fit: one kernel, thin slices, one slice distance, little time between them."""
    thickness = [finding.spacing[2] if finding.spacing else 0.0 for finding in (ncct, cta)]
    seconds = abs((cta.taken - ncct.taken).total_seconds()) if cta.taken and ncct.taken else 0.0
    return float(ncct.kernel != cta.kernel), max(thickness), abs(thickness[0] - thickness[1]), seconds


def _description(ncct: Finding, cta: Finding) -> str:
    parts = []
    if ncct.study and cta.study:
        parts.append("same study" if ncct.study == cta.study else "different studies")
    if ncct.taken and cta.taken:
        parts.append(_apart(abs((cta.taken - ncct.taken).total_seconds())))
    if ncct.frame and cta.frame:
        parts.append(f"{'one frame' if ncct.frame == cta.frame else 'different frames'} of reference")
    parts.append(f"blood {ncct.blood:.0f} and {cta.blood:.0f} HU")
    if ncct.spacing and cta.spacing:
        parts.append(f"slices every {ncct.spacing[2]:.3g} and {cta.spacing[2]:.3g} mm")
    if ncct.kernel or cta.kernel:
        parts.append(f"kernels {ncct.kernel or '?'} and {cta.kernel or '?'}")
    parts += [f"{finding.series}: {finding.remark}" for finding in (ncct, cta) if finding.remark]
    return ", ".join(parts)


def _apart(seconds: float) -> str:
    for unit, length in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} apart"
    return f"{seconds:.0f} s apart"
