"""A picture of every validation: NCCT, the cascade's stages, CTA and error."""

from __future__ import annotations

from pathlib import Path

import ignite.distributed as idist
import numpy as np
from ignite.engine import Events
from monai.engines.workflow import Workflow
from torch.utils.tensorboard import SummaryWriter

from ..common import keys
from ..common.panels import axial, panel_figure, richest_slice, save_figure

NAMES = {keys.NCCT: "NCCT", keys.COARSE: "G", keys.INTERMEDIATE: "NCCT * |G|", keys.PREDICTION: "Prediction"}
STAGES = (keys.NCCT, keys.PREDICTION)
REFINED_STAGES = (keys.NCCT, keys.COARSE, keys.INTERMEDIATE, keys.PREDICTION)


class PreviewHandler:
    """Draw the first validation case's slice with the largest vessel area, as PNG and for TensorBoard.

    Attach to the evaluator.

    Args:
        output_dir: the run's folder; pictures go to ``previews/epochNNNN.png`` and ``tensorboard/previews``.
        refine: whether there is a G2, in which case its input is shown too.
    """

    def __init__(self, output_dir: str | Path, refine: bool = False) -> None:
        self.folder = Path(output_dir) / "previews"
        self.shown = REFINED_STAGES if refine else STAGES

    def attach(self, engine: Workflow) -> None:
        """Draw after the first case of each validation."""
        if idist.get_rank() == 0:
            engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Workflow) -> None:
        """Draw the case just synthesised, if it is the first."""
        if engine.state.iteration != 1:
            return
        output, epoch = engine.state.output, engine.state.epoch
        z = richest_slice(output[keys.VESSEL])
        figure = panel_figure(
            {NAMES[name]: axial(output[name], z) for name in self.shown},
            axial(output[keys.CTA], z),
            title=f"{output[keys.CASE]}, axial slice {z + 1}, epoch {epoch}",
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        save_figure(figure, self.folder / f"epoch{epoch:04d}.png")
        figure.canvas.draw()
        pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]  # type: ignore[attr-defined]
        # A separate folder: a running TensorBoard follows one file per folder and would drop the one with the scalars.
        with SummaryWriter(str(self.folder.parent / "tensorboard" / "previews")) as writer:
            writer.add_image("preview", pixels, epoch, dataformats="HWC")
