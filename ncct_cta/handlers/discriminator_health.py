"""Watch whether the discriminator tells real from synthetic, and report in words when it doesn't."""

from __future__ import annotations

import logging
from collections import deque

import ignite.distributed as idist
import torch
from ignite.engine import Events
from monai.engines.workflow import Workflow

from ..common import keys

logger = logging.getLogger(__name__)

BLIND_GAP = 0.1  # D_real - D_fake: noise around 0 for a D that sees nothing, 0.15 or more for a working one
SATURATED = (0.95, 0.05)  # D_real above, D_fake below: nothing left to learn from
BLIND_VALUE, LEAK_VALUE = 0.5, 0.75  # where least squares settles for a blind D, and for one that the generator trains
SETTLING = 200  # first steps of D that say nothing: it starts blind
NEAR = (LEAK_VALUE - BLIND_VALUE) / 2


class DiscriminatorHealthHandler:
    """Report a blind, an unsettled or a saturated D once, with the fixed point it has settled at and the remedy.

    A blind least-squares D answers r = f = c for real and fake alike. Trained alone it minimises
    1/2 [(c - 1)^2 + c^2], so c = 1/2. If the generator's gradient reaches D's weights too, it minimises
    1/2 [(c - 1)^2 + c^2] + (c - 1)^2, so c = 3/4.

    Args:
        mode: the adversarial loss; the fixed points are those of ``least_squares``.
        window: number of steps that must agree before anything is reported.
        settling: first steps of D that don't count.
    """

    def __init__(self, mode: str = "least_squares", window: int = 100, settling: int = SETTLING) -> None:
        self.mode = mode
        self.settling = settling
        self.steps = 0
        self.scores: deque[torch.Tensor] = deque(maxlen=window)
        self.reported: set[str] = set()

    def attach(self, engine: Workflow) -> None:
        """Attach to every step; the scores are judged at the end of each window, by the first process only."""
        if idist.get_rank() == 0:
            engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Workflow) -> None:
        """Collect the step's scores; when the window is full, report what they mean."""
        terms = engine.state.output[keys.TERMS]
        if keys.D_REAL not in terms:
            return
        self.steps += 1
        if self.steps <= self.settling:
            return
        # Kept on their device: reading them at every step would stall the GPU.
        self.scores.append(torch.stack([terms[keys.D_REAL], terms[keys.D_FAKE]]).detach())
        window = self.scores.maxlen or 1
        if len(self.scores) < window or engine.state.iteration % window:
            return
        scores = torch.stack(list(self.scores)).cpu()
        state = diagnose(scores[:, 0], scores[:, 1], self.mode)
        if state and state not in self.reported:
            self.reported.add(state)
            logger.warning("iteration %d: %s", engine.state.iteration, message(state, scores))


def diagnose(d_real: torch.Tensor, d_fake: torch.Tensor, mode: str = "least_squares") -> str:
    """Return D's state over some steps: a key of ``REMEDIES``, or an empty string if it is healthy.

    Args:
        d_real: D's mean scores for real CTAs, (steps,).
        d_fake: the same for synthetic CTAs, (steps,).
        mode: the adversarial loss.
    """
    real, fake = float(d_real.mean()), float(d_fake.mean())
    if abs(real - fake) < BLIND_GAP:
        return _blindness((real + fake) / 2) if mode == "least_squares" else "blind_hinge"
    if mode == "least_squares" and real > SATURATED[0] and fake < SATURATED[1]:
        return "saturated"
    return ""


def _blindness(score: float) -> str:
    """Which fixed point of least squares a D sits at that gives one score; hinge has none, it is flat from -1 to 1."""
    if abs(score - BLIND_VALUE) <= NEAR:
        return "blind"
    return "leak" if abs(score - LEAK_VALUE) <= NEAR else "unsettled"


BLIND_REMEDY = (
    "because it can't tell them apart. Raise discriminator.lr or discriminator.steps, or let the reconstruction warm "
    "up shorter; if the synthesis is as good as the CTA, that is success"
)
REMEDIES = {
    "blind": (
        "the discriminator is blind: it gives real and synthetic CTAs one score near 1/2, where least squares settles, "
        + BLIND_REMEDY
    ),
    "blind_hinge": f"the discriminator is blind: it gives real and synthetic CTAs one score, {BLIND_REMEDY}",
    "leak": (
        "the discriminator is blind and sits near 3/4, where least squares settles when the generator's gradient leaks "
        "into it: D is being trained to please the generator. Freeze D in the generator's step and zero its gradients "
        "before its own (AdversarialSynthesisTrainer does both; look for a changed training loop)"
    ),
    "unsettled": (
        "the discriminator gives real and synthetic CTAs one score, far from 1/2, where even a blind one settles with "
        "least squares: it doesn't learn, or not fast enough. Raise discriminator.lr (with 0 it never moves), or lower "
        "discriminator.warmup_steps"
    ),
    "saturated": (
        "the discriminator is saturated: it tells real from synthetic without doubt and leaves the generator little to "
        "learn from. Lower discriminator.lr, or raise discriminator.feat_match_weight"
    ),
}


def message(state: str, scores: torch.Tensor) -> str:
    """Format the report: the remedy and the scores; ``scores`` is (steps, 2), real and fake."""
    real, fake = scores.mean(0).tolist()
    return f"{REMEDIES[state]}. D_real {real:.3f}, D_fake {fake:.3f} over the last {len(scores)} steps"
