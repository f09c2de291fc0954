"""``python -m ncct_cta.metrics``: print every metric, its unit, its direction and its meaning."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from .catalogue import as_markdown


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    description = "Print every metric of an evaluation, its unit, its direction and its meaning as Markdown tables."
    argparse.ArgumentParser(prog="python -m ncct_cta.metrics", description=description).parse_args(argv)
    print(as_markdown())


if __name__ == "__main__":
    main()
