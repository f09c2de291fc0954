"""Synthesise a CT angiography (CTA) from a non-contrast chest CT (NCCT)."""

# MONAI resolves the YAML's `$from ncct_cta import paths` by getattr alone, so the module must already be there.
from . import paths as paths
