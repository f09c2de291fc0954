"""How a network covers a volume follows from its layers, and from the settings."""

from __future__ import annotations

import pytest
from torch import nn

from ncct_cta.inferers.builders import build_inferer
from ncct_cta.networks import Generator
from ncct_cta.settings import DataConfig, TrainConfig

DATA, TRAIN = DataConfig(patch_size=(32, 32)), TrainConfig(batch_size=3)


@pytest.mark.parametrize(("norm", "windowed"), [("instance", True), ("batch", False)])
def test_a_network_that_normalises_by_all_it_sees_gets_windows(norm: str, windowed: bool) -> None:
    inferer = build_inferer(DATA, Generator(channels=(4, 8), num_res_units=0, norm=norm), TRAIN)
    assert inferer.windowed is windowed
    assert (inferer.patch_size, inferer.multiple, inferer.batch_size) == ((32, 32), 2, 3)


def test_so_does_a_network_with_group_norm_anywhere() -> None:
    generator = Generator(channels=(4, 8), num_res_units=0, norm="batch")
    generator.net.add_module("extra", nn.Sequential(nn.GroupNorm(1, 1)))
    assert build_inferer(DATA, generator, TRAIN).windowed
