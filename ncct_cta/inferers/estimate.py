"""What was predicted of an image: the mean of several predictions, their disagreement, and all that stays as it is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch

from ..networks import Stages, intermediate_image
from .region import Box, cut, paste

SD = "sd"


class Estimate(NamedTuple):
    """The stages of several predictions' mean, and their standard deviation, all of one shape, in [-1, 1]'s units.

    Args:
        coarse: mean of G's predictions.
        intermediate: made of that mean, so that the formula holds for what is written.
        refined: mean of the synthetic CTAs.
        sd: standard deviation of the synthetic CTAs, with n - 1.
    """

    coarse: torch.Tensor
    intermediate: torch.Tensor
    refined: torch.Tensor
    sd: torch.Tensor


def averaged(ncct: torch.Tensor, predictions: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> Estimate:
    """Average predictions one by one, of which only one is held at a time (Welford, Technometrics 1962).

    Args:
        ncct: what they were made from, in [-1, 1].
        predictions: two at least, each a coarse and a refined image of the shape of ``ncct``.
    """
    coarse, refined, squares = torch.zeros_like(ncct), torch.zeros_like(ncct), torch.zeros_like(ncct)
    count = 0
    for count, (one_coarse, one_refined) in enumerate(predictions, start=1):
        if count == 1:  # exactly these: where all agree, the mean must be what each of them is
            coarse, refined = one_coarse.clone(), one_refined.clone()
            continue
        coarse += (one_coarse - coarse) / count
        difference = one_refined - refined
        refined += difference / count
        squares += difference * (one_refined - refined)
    return Estimate(coarse, intermediate_image(ncct, coarse), refined, (squares / (count - 1)).sqrt())


def pasted(made: Stages | Estimate | None, box: Box | None, ncct: torch.Tensor, inside: torch.Tensor) -> Estimate:
    """The stages of all of ``ncct``: what was made of a box of it, and the stages of an unchanged image elsewhere.

    Args:
        made: of the box; None if the network saw nothing.
        box: within ``ncct``.
        ncct: (n, 1, X, Y), or (1, 1, X, Y, Z).
        inside: which of its voxels may change: what a network makes of a table is nothing that one wants to see, and a
            loss over the body alone (``loss.body_only``) leaves it free.
    """
    # Where there is one prediction nobody asks for how far several disagree: zeros that take no memory.
    sd = torch.zeros_like(ncct) if isinstance(made, Estimate) else ncct.new_zeros(()).expand_as(ncct)
    stages = Estimate(ncct.clone(), intermediate_image(ncct, ncct), ncct.clone(), sd)
    for part, image in zip(made or (), stages, strict=False):
        assert box is not None
        paste(torch.where(cut(inside, box, 0), part, cut(image, box, 0)), box, image)
    return stages
