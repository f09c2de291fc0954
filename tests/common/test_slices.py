"""The slices around a slice."""

from __future__ import annotations

import pytest

from ncct_cta.common.slices import neighbours


@pytest.mark.parametrize(
    ("z", "in_slices", "expected"),
    [
        (6, 1, [6]),
        (6, 3, [5, 6, 7]),
        (6, 5, [4, 5, 6, 7, 8]),
        (4, 5, [4, 4, 4, 5, 6]),
        (9, 5, [7, 8, 9, 9, 9]),
    ],
)
def test_the_slice_is_in_the_middle_and_the_ends_are_repeated(z: int, in_slices: int, expected: list[int]) -> None:
    assert neighbours(z, in_slices, 4, 9) == expected
