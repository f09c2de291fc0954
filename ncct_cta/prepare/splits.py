"""Split patients (never single scans) by a seed and the patients' names alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from ..common.errors import InputError
from ..common.keys import SPLITS

DEFAULT_SHARES = (0.7, 0.15, 0.15)  # of the patients: training, validation, testing
SUM_TOLERANCE = 1e-6


def check_shares(shares: Sequence[float]) -> None:
    """Check the shares of training, validation and testing.

    Raises:
        InputError: unless they are three shares of at least 0, training's above 0, that add up to 1.
    """
    good = len(shares) == len(SPLITS) and min(shares) >= 0 and shares[0] > 0 and abs(sum(shares) - 1) < SUM_TOLERANCE
    if not good:
        raise InputError(
            f"the split {' '.join(f'{share:g}' for share in shares)}: expected a share for {', '.join(SPLITS)} that "
            "add up to 1, the first above 0, for example 0.7 0.15 0.15"
        )


def split_patients(patients: Iterable[str], *, shares: Sequence[float], seed: int) -> dict[str, str]:
    """Assign a split to every patient.

    Patients are sorted by a hash of the seed and their name, and the order is cut in three: adding a patient doesn't
    reorder the others, and so moves at most one patient across each of the two cuts. Sizes are the shares, rounded;
    from three patients on, a split whose share isn't 0 has at least one, and training always has.

    Args:
        patients: names; duplicates are one patient.
        shares: of training, validation and testing, which add up to 1.
        seed: seed of the order.

    Returns:
        The split of each patient, a name in ``data.cases.SPLITS``.

    Raises:
        InputError: if the shares can't be used.
    """
    check_shares(shares)
    ordered = sorted(set(patients), key=lambda name: (_rank(name, seed), name))
    # Held-out patients come first, cut at cumulative shares, so that adding a patient moves each cut by at most one
    # place.
    most = max(len(ordered) - 1, 0)  # at least one must be left to train on
    first_cut = min(_size(shares[1], len(ordered)), most)
    least_testing = 1 if shares[2] > 0 else 0
    second_cut = min(max(_size(shares[1] + shares[2], len(ordered)), first_cut + least_testing), most)
    training, validation, testing = SPLITS
    names = [validation] * first_cut + [testing] * (second_cut - first_cut) + [training] * (len(ordered) - second_cut)
    return dict(zip(ordered, names, strict=True))


def _rank(name: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed}:{name}".encode()).digest()


def _size(share: float, patients: int) -> int:
    return max(round(share * patients), 1) if share > 0 else 0
