"""``python -m ncct_cta.infer.options_yaml``: write the options into ``inference.yaml`` anew, as they are declared."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from ..common.files import write_text
from ..settings.places import bundle_config
from .options import InferenceOptions, RunningOptions, own_first

TARGET = "  _target_: ncct_cta.infer.running.checked_options\n"


def spelled(options: type[RunningOptions], of: str = "") -> Iterator[str]:
    """Yield each option as a line of YAML, with its default and its meaning.

    Args:
        options: the class that declares them.
        of: what every meaning begins with, in a file that has other entries.
    """
    for field in own_first(options):
        plain = list(field.default) if isinstance(field.default, tuple) else field.default
        default = '""' if plain == "" else yaml.safe_dump(plain, default_flow_style=True).removesuffix("...\n").strip()
        yield f"{field.name}: {default} # {of}{field.metadata['meaning']}"


def with_options(text: str) -> str:
    """Return the text of ``inference.yaml`` with all options, and the references to them, written anew."""
    names = [field.name for field in own_first(InferenceOptions)]
    lines = [f"{line}\n" for line in spelled(InferenceOptions)]
    references = [f'  {name}: "@{name}"\n' for name in names]
    before, rest = re.split(r"(?<=\n\n)(?=[a-z_]+: [^\n]* # )", text, maxsplit=1)
    after = re.split(rf"{re.escape(TARGET)}(?:  [a-z_]+: \"@[a-z_]+\"\n)*", rest, maxsplit=1)[1]
    return f"{before}{''.join(lines)}\noptions:\n{TARGET}{''.join(references)}{after}"


if __name__ == "__main__":
    config = Path(bundle_config("inference.yaml"))
    write_text(with_options(config.read_text(encoding="utf-8")), config)
