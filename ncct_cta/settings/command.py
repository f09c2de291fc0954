"""``python -m ncct_cta.settings``: print every setting, its default and its meaning as a Markdown table."""

from __future__ import annotations

from collections.abc import Sequence

from ..common.command_line import command_parser
from .plain import settings_table


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    command_parser("settings", __doc__).parse_args(argv)
    print(settings_table())
