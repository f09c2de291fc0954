"""``python -m ncct_cta.settings``: print every setting, its default and its meaning."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from .sections import settings_table


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    description = "Print every setting, its default and its meaning as a Markdown table."
    argparse.ArgumentParser(prog="python -m ncct_cta.settings", description=description).parse_args(argv)
    print(settings_table())


if __name__ == "__main__":
    main()
