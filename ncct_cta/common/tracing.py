"""What ``--debug`` logs: shapes, ranges, timings and memory of every stage."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

# getrusage gives kilobytes on Linux and bytes on macOS.
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


def describe(image: Any) -> str:
    """Describe a tensor or array in one line by shape, type and range; return the repr of anything else."""
    if not isinstance(image, (torch.Tensor, np.ndarray)):
        return repr(image)
    kind = str(image.dtype).removeprefix("torch.")
    if 0 in image.shape:
        return f"{tuple(image.shape)} {kind}, empty"
    mean = float(image.float().mean() if isinstance(image, torch.Tensor) else image.mean(dtype=np.float64))
    return f"{tuple(image.shape)} {kind}, {float(image.min()):.4g} to {float(image.max()):.4g}, mean {mean:.4g}"


def memory() -> str:
    """The process' peak memory where the system tells it, and the GPU's where there is one."""
    text = "peak memory unknown"
    if resource is not None:
        text = f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT / 2**20:.0f} MiB"
    if torch.cuda.is_available():
        text += f", GPU {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB"
    return text


@contextmanager
def stage(logger: logging.Logger, name: str) -> Iterator[None]:
    """Log how long a stage took and the memory after it, at debug level."""
    start = time.perf_counter()
    yield
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug("%s: %.3f s, %s", name, time.perf_counter() - start, memory())
