"""Splits: by patient, sized as asked, and hardly moved by a newcomer."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncct_cta.common.errors import InputError
from ncct_cta.data.cases import SPLITS
from ncct_cta.prepare.cohort import datalist
from ncct_cta.prepare.records import Record
from ncct_cta.prepare.splits import split_patients

SHARES = (0.7, 0.15, 0.15)
NAMES = st.sets(st.text("abcdef0123456789", min_size=1, max_size=6), min_size=1, max_size=60)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 9)), min_size=1, unique=True), st.integers(0, 99))
def test_no_patient_is_in_two_splits(scans: list[tuple[str, int]], seed: int) -> None:
    records = [Record(f"{patient}_{number}", patient, {}, ()) for patient, number in scans]
    entries = datalist(records, shares=SHARES, seed=seed, kinds=("ncct", "cta"))
    patients = [{entry["patient"] for entry in entries[split]} for split in SPLITS]
    assert sum(map(len, patients)) == len({patient for patient, _ in scans})
    assert sum(map(len, entries.values())) == len(scans)


@settings(max_examples=50, deadline=None)
@given(NAMES, st.integers(0, 99))
def test_a_patient_more_moves_at_most_one_over_each_cut(names: set[str], seed: int) -> None:
    before = split_patients(names, shares=SHARES, seed=seed)
    after = split_patients({*names, "newcomer"}, shares=SHARES, seed=seed)
    assert sum(before[name] != after[name] for name in names) <= 2


@pytest.mark.parametrize(("patients", "sizes"), [(1, (1, 0, 0)), (2, (1, 1, 0)), (3, (1, 1, 1)), (20, (14, 3, 3))])
def test_sizes_are_the_shares(patients: int, sizes: tuple[int, int, int]) -> None:
    split = split_patients([f"p{number}" for number in range(patients)], shares=SHARES, seed=0)
    assert tuple(list(split.values()).count(name) for name in SPLITS) == sizes


def test_another_seed_gives_another_split() -> None:
    names = [f"p{number}" for number in range(20)]
    first, again, other = (split_patients(names, shares=SHARES, seed=seed) for seed in (0, 0, 1))
    assert first == again != other


def test_a_share_of_zero_leaves_a_split_empty() -> None:
    split = split_patients([f"p{number}" for number in range(5)], shares=(0.8, 0.2, 0.0), seed=0)
    assert "testing" not in split.values()


@pytest.mark.parametrize("shares", [(0.5, 0.2, 0.2), (0.0, 0.5, 0.5), (1.2, -0.1, -0.1)])
def test_shares_that_are_none_are_refused(shares: tuple[float, float, float]) -> None:
    with pytest.raises(InputError, match=r"add up to 1.*for example 0.7 0.15 0.15"):
        split_patients(["a"], shares=shares, seed=0)
