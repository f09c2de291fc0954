"""OpenVINO runs the same network; which engine is chosen; and nobody is told of it."""

from __future__ import annotations

import importlib.util
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import nn

from ncct_cta.common.errors import InputError
from ncct_cta.common.hu import HUWindow
from ncct_cta.inferers import VolumeInferer
from ncct_cta.inferers.openvino_network import NotConverted, OpenVINONetwork, chosen_engine
from ncct_cta.networks import Generator, RefineNet, Stages, SynthesisCascade

CPU = torch.device("cpu")
needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="OpenVINO isn't installed (extra openvino)"
)


def cascade(
    spatial_dims: int = 2, norm: str = "instance", architecture: str = "unet", base: str = "auto"
) -> SynthesisCascade:
    torch.manual_seed(0)
    channels = (4, 8, 8) if architecture == "unet" else (4, 4, 8, 8, 8)
    generator = Generator(spatial_dims, channels, num_res_units=1, norm=norm, architecture=architecture)
    for parameter in generator.parameters():
        nn.init.normal_(parameter, std=0.2)
    return SynthesisCascade(generator, RefineNet(spatial_dims, hidden_dim=4, num_blocks=1), base=base).eval()


def in_openvino(net: SynthesisCascade, spatial_dims: int = 2, **choices: Any) -> OpenVINONetwork:
    return OpenVINONetwork(net, spatial_dims=spatial_dims, multiple=net.generator.multiple, **choices)


@needs_openvino
@pytest.mark.parametrize(("dims", "norm", "architecture"), [
    (2, "instance", "unet"), (2, "batch", "unet"), (3, "instance", "unet"),
    (2, "instance", "basic_unet"), (2, "instance", "dynunet"),
])  # fmt: skip
def test_it_gives_every_stage_that_pytorch_gives_at_any_size(dims: int, norm: str, architecture: str) -> None:
    net = cascade(dims, norm, architecture)
    converted = in_openvino(net, dims)
    for batch, sides in ((1, (32, 64, 32)), (3, (96, 32, 32))):
        ncct = 2 * torch.rand(batch, 1, *sides[:dims]) - 1
        with torch.inference_mode():
            expected = net(ncct)
        assert (expected.refined - ncct).abs().mean() > 0.01  # or it would prove nothing
        for found, stage in zip(converted(ncct), expected, strict=True):
            assert torch.allclose(found, stage, atol=1e-5)


@needs_openvino
def test_it_takes_the_slices_around() -> None:
    torch.manual_seed(0)
    generator = Generator(2, (4, 8), num_res_units=1, in_slices=3)
    nn.init.normal_(next(generator.parameters()))
    net = SynthesisCascade(generator).eval()
    ncct = 2 * torch.rand(2, 3, 32, 48) - 1
    with torch.inference_mode():
        expected = net(ncct)
    assert torch.allclose(in_openvino(net, in_slices=3)(ncct).refined, expected.refined, atol=1e-5)


@needs_openvino
@pytest.mark.parametrize("base", ["coarse", "root"])
def test_it_knows_every_base(base: str) -> None:
    net, ncct = cascade(base=base), 2 * torch.rand(1, 1, 32, 32) - 1
    with torch.inference_mode():
        assert torch.allclose(in_openvino(net)(ncct).refined, net(ncct).refined, atol=1e-5)


@needs_openvino
@pytest.mark.parametrize("windowed", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_volume_is_the_same_within_1_hu(windowed: bool, threads: int) -> None:
    hu = torch.randint(-1100, 900, (1, 1, 40, 36, 7), generator=torch.Generator().manual_seed(0)).float()
    inferer = VolumeInferer(window=HUWindow(-1000, 600), patch_size=(16, 16), multiple=4, windowed=windowed)
    net, before = cascade(), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = inferer(hu, in_openvino(net, streams=threads))
        assert (found - inferer(hu, net)).abs().max() < 1
    finally:
        torch.set_num_threads(before)


@needs_openvino
def test_threads_do_not_share_a_request() -> None:
    net = cascade()
    converted = in_openvino(net, streams=2)
    images = [2 * torch.rand(1, 1, 64, 64) - 1 for _ in range(16)]
    with torch.inference_mode():
        expected = [net(image).refined for image in images]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(converted, images))
    assert all(torch.allclose(a.refined, b, atol=1e-5) for a, b in zip(found, expected, strict=True))


@needs_openvino
def test_a_network_whose_code_looks_at_the_size_is_not_converted() -> None:
    class SizeDecides(nn.Module):
        def forward(self, ncct: torch.Tensor) -> Stages:
            scale = 2.0 if ncct.shape[2] > 20 else 0.5
            return Stages(ncct * 1.5, ncct * 1.5, ncct * scale)

    with pytest.raises(NotConverted, match="another image than PyTorch"):
        OpenVINONetwork(SizeDecides().eval(), spatial_dims=2, multiple=8)


@needs_openvino
def test_a_network_that_cannot_be_traced_is_not_converted() -> None:
    class Refuses(nn.Module):
        def forward(self, ncct: torch.Tensor) -> Stages:
            raise RuntimeError("no network\nat all")

    with pytest.raises(NotConverted, match="no network at all"):
        OpenVINONetwork(Refuses().eval(), spatial_dims=2, multiple=8)


@needs_openvino
def test_nothing_is_reported_to_anyone(monkeypatch: pytest.MonkeyPatch) -> None:
    telemetry = pytest.importorskip("openvino_telemetry")

    def called(*arguments: object, **more: object) -> None:
        raise AssertionError("a conversion was reported")

    monkeypatch.setattr(telemetry.Telemetry, "init", called)
    monkeypatch.setattr(telemetry.Telemetry, "send_event", called)
    monkeypatch.setattr(socket.socket, "connect", called)
    in_openvino(cascade())


@needs_openvino
def test_openvino_runs_on_a_cpu_alone() -> None:
    assert chosen_engine("openvino", CPU) == "openvino"
    assert chosen_engine("torch", CPU) == "torch"
    with pytest.raises(InputError, match="the device is cuda; give --device cpu as well"):
        chosen_engine("openvino", torch.device("cuda"))


def test_without_the_extra_openvino_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"OpenVINO isn't installed; pip install 'ncct-cta\[openvino\]'") as raised:
        chosen_engine("openvino", CPU)
    assert "\n" not in str(raised.value)
