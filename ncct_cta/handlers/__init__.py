"""Ignite handlers: what happens around the iterations."""

from .balance import BalanceHandler
from .checkpoint import CheckpointHandler
from .debug import DebugHandler
from .diagnostics import DiagnosticsHandler
from .discriminator_health import DiscriminatorHealthHandler
from .ema import AveragedNetwork, EMAHandler
from .logs import MetricsLogHandler, ProgressBarHandler
from .previews import PreviewHandler
from .refinement import RefinementHandler
from .validation import ValidationHandler

__all__ = [
    "AveragedNetwork",
    "BalanceHandler",
    "CheckpointHandler",
    "DebugHandler",
    "DiagnosticsHandler",
    "DiscriminatorHealthHandler",
    "EMAHandler",
    "MetricsLogHandler",
    "PreviewHandler",
    "ProgressBarHandler",
    "RefinementHandler",
    "ValidationHandler",
]
