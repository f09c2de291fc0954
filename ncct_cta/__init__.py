"""Synthesise a CT angiography (CTA) from a non-contrast chest CT (NCCT)."""
