"""The ranges of HU that PSNR and SSIM are taken in: the same error gives another figure in another range."""

from __future__ import annotations

from ..common.hu import SYNTHRAD_RANGE_HU, HUWindow

SYNTHRAD_RANGE = HUWindow(*SYNTHRAD_RANGE_HU)


def range_name(window: HUWindow) -> str:
    """Return the suffix of a column's name that states the range of its PSNR or SSIM.

    SynthRAD's is named by its width, others by both ends: windows of the same width give different values.

    >>> range_name(SYNTHRAD_RANGE), range_name(HUWindow(-1000, 600))
    ('range4095', 'window_-1000_600')
    """
    if window == SYNTHRAD_RANGE:
        return f"range{window.upper - window.lower:g}"
    return f"window_{window.lower:g}_{window.upper:g}"


def range_title(window: HUWindow) -> str:
    """A range as tables show it.

    >>> range_title(SYNTHRAD_RANGE)
    '[-1024, 3071]'
    """
    return f"[{window.lower:g}, {window.upper:g}]"


def scored_ranges(window: HUWindow) -> tuple[HUWindow, ...]:
    """SynthRAD's range, then ``window`` if it is another one."""
    return tuple(dict.fromkeys((SYNTHRAD_RANGE, window)))
