"""Settings as they stand outside: in a YAML file, a checkpoint and the table of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .quoting import unquoted
from .whole import section_types


def settings_of(content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The settings in a bundle's YAML or in a checkpoint, unquoted; wiring and what isn't known are left out."""
    sections = {name: content.get(name) for name in section_types()}
    return {
        name: {key: unquoted(value) for key, value in values.items() if key in section_types()[name].names()}
        for name, values in sections.items()
        if isinstance(values, Mapping)
    }


def settings_table() -> str:
    """All settings as a Markdown table."""
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    return "\n".join([*rows, *(row for kind in section_types().values() for row in kind.rows())])
