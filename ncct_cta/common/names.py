"""Names that a user gives to cases and methods: files are called after them, and tables and messages show them."""

from __future__ import annotations

import unicodedata

from .errors import InputError

# File systems allow 255 bytes, and the longest ending, _intermediate.nii.gz behind a hidden file's prefix, needs 50.
LONGEST_NAME_BYTES = 200
LONGEST_SHOWN = 120
CONTROL, SURROGATE = "Cc", "Cs"  # Unicode's categories of what no text file and no terminal can take


def require_file_name(name: str, whose: str) -> None:
    """Check that files and folders can be called after a name, on every system.

    Args:
        name: of a case or a method.
        whose: what it names and where it stands; the message begins with it.

    Raises:
        InputError: if they can't.
    """
    if name in ("", ".", "..") or "/" in name or "\\" in name:
        raise InputError(f"{whose} {name!r} can't name an output file; leave out slashes")
    if any(unicodedata.category(letter) in (CONTROL, SURROGATE) for letter in name):
        raise InputError(f"{whose} {shortened(ascii(name))} can't name an output file; leave out what can't be printed")
    size = len(name.encode())
    if size > LONGEST_NAME_BYTES:
        raise InputError(
            f"{whose} {shortened(name)} has {size} bytes, expected at most {LONGEST_NAME_BYTES}; shorten it"
        )


def shortened(text: object, most: int = LONGEST_SHOWN) -> str:
    """A name or a path without its middle, which a message has no room for.

    >>> shortened("unet_baseline_wide", 12)
    'unet_...wide'
    """
    words = str(text)
    end = (most - 3) // 2
    return words if len(words) <= most else f"{words[: most - 3 - end]}...{words[-end:]}"
