"""Synthesise a CT angiography (CTA) from a non-contrast chest CT (NCCT)."""

import os

__version__ = "0.1.0"

# Set before PyTorch is loaded, so that its threads sleep while they wait. Spinning, which is the default, made a
# training step on two cores eight times slower when another program was busy.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
