"""Names that a user gives to cases and methods: files are called after them, and tables and messages show them."""

from __future__ import annotations

from .errors import InputError
from .terminal import CONTROL

# File systems allow 255 bytes, and the longest ending, _intermediate.nii.gz behind a hidden file's prefix, needs 50.
LONGEST_NAME_BYTES = 200
LONGEST_SHOWN = 120
LONGEST_QUOTED = 60


def require_file_name(name: str, whose: str) -> None:
    """Check that files and folders can be called after a name, on every system.

    Args:
        name: of a case or a method.
        whose: what it names and where it is given; the message begins with it.

    Raises:
        InputError: if it is empty, holds slashes or characters that no text file can hold, or is too long.
    """
    problem = _problem(name)
    if problem:
        raise InputError(f"{whose} {shortened(name, LONGEST_QUOTED)!r} can't name an output file; {problem}")


def _problem(name: str) -> str:
    try:
        size = len(name.encode("utf-8"))
    except UnicodeEncodeError:  # half of a character, as JSON and file names in another encoding can give
        return "it isn't UTF-8 text"
    if name in ("", ".", "..") or "/" in name or "\\" in name:
        return "leave out slashes"
    if name[1:2] == ":":
        return "leave out the colon, which names a drive on Windows"
    if CONTROL.search(name):
        return "leave out control characters"
    if size > LONGEST_NAME_BYTES:
        return f"it has {size} bytes, expected at most {LONGEST_NAME_BYTES}"
    return ""


def shortened(text: object, most: int = LONGEST_SHOWN) -> str:
    """A name or a path without its middle, which a message has no room for.

    >>> shortened("unet_baseline_wide", 12)
    'unet_...wide'
    """
    words = str(text)
    end = (most - 3) // 2
    return words if len(words) <= most else f"{words[: most - 3 - end]}...{words[-end:]}"
