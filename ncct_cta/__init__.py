"""Synthesise a CT angiography (CTA) from a non-contrast chest CT (NCCT)."""

import os

__version__ = "0.1.0"

# Before PyTorch is loaded: its threads then sleep while they wait. Spinning, which is the default, made a training
# step on two cores eight times as slow beside another busy program.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
