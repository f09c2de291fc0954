"""HU as files hold them, and HU as the networks see them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from ..common.hu import HUWindow, to_int16_hu


class RoundHUd(MapTransform):
    """Round HU to int16, the type that CT files use: interpolated values become those that a file would hold.

    Args:
        keys: CTs, ``MetaTensor`` of any shape in HU.
        allow_missing_keys: pass over CTs that are missing.
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Give the same with rounded CTs."""
        images = dict(data)
        for key in self.key_iterator(images):
            image = images[key]
            if image.dtype != torch.int16:
                rounded = torch.from_numpy(to_int16_hu(image.numpy()))
                images[key] = MetaTensor(rounded, meta=image.meta, applied_operations=image.applied_operations)
        return images


class ScaleHUWindowd(MapTransform):
    """Clip CTs to the HU window and scale it to [-1, 1], which the networks see.

    Args:
        keys: CTs, tensors of any shape in HU; they become floating.
        window: the HU window.
        allow_missing_keys: pass over CTs that are missing.
    """

    def __init__(self, keys: KeysCollection, window: HUWindow, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.window = window

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Give the same with scaled CTs."""
        images = dict(data)
        for key in self.key_iterator(images):
            images[key] = self.window.normalise(images[key])
        return images
