"""A picture of every validation: NCCT, the cascade's stages, CTA and error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from ignite.engine import Events
from monai.engines.workflow import Workflow
from torch.utils.tensorboard import SummaryWriter

from .. import keys
from ..previews import axial, panel_figure, richest_slice, save_figure

NAMES = {keys.NCCT: "NCCT", keys.COARSE: "G", keys.INTERMEDIATE: "NCCT * |G|", keys.PREDICTION: "Prediction"}


class PreviewHandler:
    """Draw the first validation case's slice with the most vessel, as PNG and for TensorBoard.

    Attach to the evaluator.

    Args:
        output_dir: the run's folder; pictures go to ``previews/epochNNNN.png`` in it.
        stages: which images to show between NCCT and prediction: names of ``keys.py``.
        writer: gives the TensorBoard writer, or None.
    """

    def __init__(
        self,
        output_dir: str | Path,
        stages: tuple[str, ...] = (),
        writer: Callable[[], SummaryWriter | None] = lambda: None,
    ) -> None:
        self.folder = Path(output_dir) / "previews"
        self.stages = stages
        self.writer = writer

    def attach(self, engine: Workflow) -> None:
        """Draw after the first case of each validation."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Workflow) -> None:
        """Draw the case that has just been synthesised, if it is the first."""
        if engine.state.iteration != 1:
            return
        output, epoch = engine.state.output, engine.state.epoch
        z = richest_slice(output[keys.VESSEL])
        shown = [keys.NCCT, *self.stages, keys.PREDICTION]
        figure = panel_figure(
            {NAMES[name]: axial(output[name], z) for name in shown},
            axial(output[keys.CTA], z),
            title=f"{output[keys.CASE]}, axial slice {z}, epoch {epoch}",
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        save_figure(figure, self.folder / f"epoch{epoch:04d}.png")
        writer = self.writer()
        if writer is not None:
            figure.canvas.draw()
            pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]  # type: ignore[attr-defined]
            writer.add_image("preview", pixels, epoch, dataformats="HWC")
