"""The perceptual loss: do prediction and CTA look alike to a network that knows anatomy?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ..common.errors import InputError
from ..networks.feature_encoder import FeatureEncoder, VGGFeatures
from .adversarial import total

FORMAT = "ncct-cta features 1"
MOST_VOXELS = 2**24  # of a volume at a time: a validation's would fill the memory with features
LEAST = 1e-6


class PerceptualLoss(nn.Module):
    """``mean over levels l of mean |n(F_l(prediction)) - n(F_l(cta))|`` with ``n(f) = f / ||f||`` over the channels.

    The features F of a frozen network, in float32 (Johnson et al., ECCV 2016; normalised as LPIPS does: Zhang et al.,
    CVPR 2018). Features of a network that segments anatomy, in place of one that knows photographs, are those of nnsyn
    (github.com/aehrc/nnsyn, first in SynthRAD2025's MR-to-CT task) and of the AFP loss (Longuefosse et al., 2025).

    Args:
        encoder: from (B, 1, *spatial) in [-1, 1] to a list of features; frozen here.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> PerceptualLoss:
        """The encoder stays in evaluation mode."""
        return super().train(False)

    def forward(self, prediction: torch.Tensor, cta: torch.Tensor) -> torch.Tensor:
        """The loss, a scalar, of two images (B, 1, *spatial) in [-1, 1]; its gradient reaches the prediction."""
        self.encoder.to(prediction.device)
        length = prediction.shape[-1]
        whole = prediction.numel() <= MOST_VOXELS or prediction.ndim == 4 or torch.is_grad_enabled()
        slab = length if whole else max(16, length * MOST_VOXELS // prediction.numel())
        pieces = zip(prediction.split(slab, dim=-1), cta.split(slab, dim=-1), strict=True)
        return total([self._of(one, other) * (one.shape[-1] / length) for one, other in pieces])

    def _of(self, prediction: torch.Tensor, cta: torch.Tensor) -> torch.Tensor:
        with torch.autocast(prediction.device.type, enabled=False):
            with torch.no_grad():
                wanted = self.encoder(cta.float())
            found = self.encoder(prediction.float())
            levels = [_distance(one, other) for one, other in zip(found, wanted, strict=True)]
        return total(levels) / len(levels)


def _distance(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return F.l1_loss(F.normalize(one, dim=1, eps=LEAST), F.normalize(other, dim=1, eps=LEAST))


def write_features(path: Path, encoder: FeatureEncoder, channels: Sequence[int], window: Sequence[float]) -> None:
    """Write an encoder that was trained here, and the images that it knows."""
    about = {"format": FORMAT, "spatial_dims": encoder.spatial_dims, "channels": list(channels), "window": list(window)}
    with open(path, "wb") as file:  # by its path PyTorch takes no hidden name
        torch.save({"about": about, "weights": encoder.state_dict()}, file)


def read_features(path: str, spatial_dims: int, window: Sequence[float]) -> FeatureEncoder | VGGFeatures:
    """Read an encoder that was trained here, or torchvision's weights of a VGG; nothing in the file is executed.

    Raises:
        InputError: if it can't be read, or knows other images than those of a training.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        about = content.get("about", {})
        encoder = _built(content, about)
        finite = all(bool(torch.isfinite(weight).all()) for weight in encoder.parameters())
    except FileNotFoundError:
        raise InputError(f"loss.perceptual_features is {path}, and there is no such file; {REMEDY}") from None
    except Exception as error:  # whatever a stranger's or a damaged file makes PyTorch raise
        raise InputError(f"{path}: holds no features ({type(error).__name__}); {REMEDY}") from error
    known = about.get("window")
    if not finite or encoder.spatial_dims != spatial_dims or (known is not None and list(known) != list(window)):
        raise InputError(
            f"{path}: features of {encoder.spatial_dims}-D images in {known or 'any window'}, expected finite ones of "
            f"{spatial_dims}-D images in {list(window)}; {REMEDY}"
        )
    return encoder


REMEDY = "make them with: ncct-cta features PRESET --data::datalist DATA --output FILE"


def _built(content: Mapping[str, Any], about: Mapping[str, Any]) -> FeatureEncoder | VGGFeatures:
    if about.get("format") != FORMAT:
        return VGGFeatures(content)
    with torch.device("meta"):  # random weights would move the generator that the other networks are drawn from
        encoder = FeatureEncoder(int(about["spatial_dims"]), [int(width) for width in about["channels"]])
    encoder.load_state_dict(content["weights"], assign=True)
    return encoder
