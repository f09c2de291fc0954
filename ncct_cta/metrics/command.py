"""``python -m ncct_cta.metrics``: print every metric, its unit, its direction and its meaning as Markdown tables."""

from __future__ import annotations

from collections.abc import Sequence

from ..common.command_line import command_parser
from .catalogue import as_markdown


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables."""
    command_parser("metrics", __doc__).parse_args(argv)
    print(as_markdown())
