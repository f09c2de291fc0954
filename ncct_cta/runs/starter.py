"""The starter model that comes with the package: for trying the software, before there is a model of one's own."""

from __future__ import annotations

from pathlib import Path

from ..common.errors import InputError

STARTER = "starter"
STARTER_FILE = Path(__file__).resolve().parent / "assets" / "starter.zip"
WHOSE = (
    "these are the weights of the starter model, which was trained on phantoms and on three public CTs: "
    "for trying the software, not for patients; a model of your own is given by --run or --model"
)


def packed_model_of(name: str) -> str:
    """The packed model that a user names: ``starter`` is the one that comes with the package, the rest are paths.

    A file of one's own of that name is given as ``./starter``.

    Raises:
        InputError: if the installation lacks the starter model.
    """
    if name != STARTER:
        return name
    if not STARTER_FILE.is_file():
        raise InputError("the starter model isn't in this installation; install ncct-cta anew, or give --run")
    return str(STARTER_FILE)


def is_packed(name: str) -> bool:
    """Whether a model that is given without saying of which kind is a packed one."""
    return name == STARTER or name.endswith(".zip")


def is_starter(path: str | Path) -> bool:
    """Whether a packed model is the one that comes with the package."""
    return Path(path).resolve() == STARTER_FILE
