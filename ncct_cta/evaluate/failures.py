"""A case that can't be scored: why, and that the others go on."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass

from ..common.errors import InputError, SomeFailed, fault_in_words

logger = logging.getLogger(__name__)

LISTED_NAMES = 10
NO_MEMORY = "there isn't enough memory for it; free some, or give --jobs 1"


@dataclass(frozen=True)
class Failure:
    """Why a case can't be scored.

    Args:
        reason: in one line, with the remedy.
        trace: where it was raised, if nobody foresaw it; else empty.
    """

    reason: str
    trace: str = ""


def failure_of(case: str, error: Exception) -> Failure:
    """What is said of a case for which something was raised, whatever it is.

    Args:
        case: its name.
        error: an ``InputError`` names its file and the remedy itself; of others the kind is said.
    """
    if isinstance(error, InputError):
        return Failure(" ".join(str(error).split()))
    trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    if isinstance(error, MemoryError):
        return Failure(f"case {case}: {NO_MEMORY}", trace)
    return Failure(f"case {case}: {fault_in_words(error)}; --debug logs all of it", trace)


@contextmanager
def collected(failures: MutableMapping[str, Failure], case: str) -> Iterator[None]:
    """Turn whatever is raised for a case into its failure, so that the other cases go on."""
    try:
        yield
    except Exception as error:
        failures[case] = failure_of(case, error)


def log_failures(failures: Mapping[str, Failure], cases: int) -> None:
    """Say why each of several cases failed, and with ``--debug`` where; ``require_none`` ends with their names."""
    for case, failure in failures.items():
        if cases > 1:
            logger.error("%s", failure.reason)
        if failure.trace:
            logger.debug("case %s:\n%s", case, failure.trace)


def require_none(failures: Mapping[str, Failure], cases: int) -> None:
    """Raise what there is to say of the cases that failed, if any did; their reasons are in the log.

    Args:
        failures: by case.
        cases: how many cases there are, with those that failed.

    Raises:
        InputError: saying why, if it is the only case.
        SomeFailed: naming them.
    """
    if not failures:
        return
    if cases == 1:  # one line and no summary of one
        raise InputError(next(iter(failures.values())).reason)
    more = len(failures) - LISTED_NAMES
    names = ", ".join(list(failures)[:LISTED_NAMES]) + (f" and {more} more" if more > 0 else "")
    raise SomeFailed(f"{len(failures)} of {cases} cases can't be scored, for the reasons above: {names}")
