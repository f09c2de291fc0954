"""Settings files, read as plain data: nothing in one is executed, and none can hang the reader."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ..common.errors import InputError

MOST_BYTES = 2**20  # a settings file has a few thousand
MOST_ENTRIES = 100_000


class _Loader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):  # type: ignore[misc]
    """YAML's safe loader that refuses a key given twice, and aliases that multiply."""

    def get_single_node(self) -> Any:
        node = super().get_single_node()
        if node is not None and _size(node, {}) > MOST_ENTRIES:
            raise yaml.YAMLError(f"its aliases unfold to more than {MOST_ENTRIES} entries")
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"Duplicate key: `{key}`, expected each once; put its settings together")
        return super().construct_mapping(node, deep)


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """How many entries a node unfolds to, with each alias counted wherever it stands; a loop counts as too many."""
    if id(node) in known:
        return known[id(node)]
    known[id(node)] = MOST_ENTRIES + 1  # until it is known: a node that holds itself never ends
    children: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        children = [child for pair in node.value for child in pair]
    elif isinstance(node, yaml.SequenceNode):
        children = node.value
    known[id(node)] = 1 + sum(_size(child, known) for child in children)
    return known[id(node)]


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file (or JSON, which is YAML) whose top level has names.

    Raises:
        InputError: if it can't be read, is no YAML, gives a name twice, or is larger than any settings file.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror or error})") from error
    if len(data) > MOST_BYTES:
        raise InputError(f"{path}: has {len(data)} bytes, expected a settings file of at most {MOST_BYTES}")
    try:
        content = yaml.load(data.decode("utf-8"), _Loader)  # derived from yaml's safe loader
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except RecursionError as error:
        raise InputError(f"{path}: nested too deeply for a settings file; give sections with settings below") from error
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{path}: not readable as YAML: {_in_short(error)}") from error
    if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
        raise InputError(f"{path}: expected sections of settings (section: then key: value below it)")
    return dict(content)


def _in_short(error: Exception) -> str:
    """YAML's reason and place in one short line."""
    mark = getattr(error, "problem_mark", None)
    reason = getattr(error, "problem", None) or str(error)
    return " ".join(f"{reason}{f', line {mark.line + 1}' if mark else ''}".split())[:160]
