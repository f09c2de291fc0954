"""MONAI's workflow with a command line that is data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monai.bundle import ConfigWorkflow

from ..settings.quoting import WORKFLOW_ARGUMENTS, quoted


class LiteralWorkflow(ConfigWorkflow):
    """Run a bundle's YAML with values that are taken as they are.

    MONAI's own workflow evaluates a value that starts with ``$``, looks up ``@`` and ``%``, and turns ``#`` into
    ``::``: a scan in ``scans #2`` isn't found, and a file's name can run code. Use it as
    ``--workflow_name ncct_cta.runs.literal_workflow.LiteralWorkflow``.

    Args:
        config_file: the bundle's YAML, or several.
        values: what the YAML's entries are replaced by, and what MONAI's ``ConfigWorkflow`` takes.
    """

    def __init__(self, config_file: str | Sequence[str], **values: Any) -> None:
        own = {name: values.pop(name) for name in list(values) if name in WORKFLOW_ARGUMENTS}
        super().__init__(config_file=config_file, **own)
        self.parser.update({name: quoted(value) for name, value in values.items()})
