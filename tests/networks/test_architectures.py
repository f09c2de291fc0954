"""The networks that G can be: each starts as the identity, halves its grid as it says, and can come from outside."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ncct_cta.common.errors import InputError
from ncct_cta.networks import Generator
from ncct_cta.networks.architectures import ARCHITECTURES, architecture_problems, own_class

CHANNELS = {"unet": (4, 8, 16), "basic_unet": (4, 4, 8, 8, 8), "unet_plus_plus": (4, 4, 8, 8, 8), "dynunet": (4, 8, 16)}


def generator_of(architecture: str, **options: object) -> Generator:
    torch.manual_seed(0)
    return Generator(architecture=architecture, channels=CHANNELS[architecture], **options)


def test_every_entry_is_tried_here() -> None:
    assert CHANNELS.keys() == ARCHITECTURES.keys()


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_it_starts_as_the_identity_and_learns_from_the_first_step(architecture, norm, spatial_dims) -> None:
    generator = generator_of(architecture, norm=norm, spatial_dims=spatial_dims)
    sides = [2 * generator.multiple, *[3 * generator.multiple] * (spatial_dims - 1)]
    ncct = torch.rand(2, 1, *sides) * 1.8 - 0.9
    coarse = generator(ncct)
    assert torch.equal(coarse, ncct)
    (coarse - ncct - 0.1).square().sum().backward()
    assert any(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in generator.parameters())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_of_several_slices_it_starts_as_the_middle_one_and_sees_them_all(architecture) -> None:
    generator = generator_of(architecture, in_slices=3)
    ncct = (torch.rand(1, 3, 3 * generator.multiple, 2 * generator.multiple) * 1.8 - 0.9).requires_grad_()
    assert torch.equal(generator(ncct), ncct[:, 1:2])
    (generator.net(ncct) - 0.1).square().sum().backward()
    torch.optim.SGD(generator.parameters(), lr=0.1).step()
    (by_slice,) = torch.autograd.grad(generator.net(ncct).square().sum(), ncct)
    assert (by_slice.abs().amax(dim=(0, 2, 3)) > 0).all()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_with_a_gated_head_it_starts_as_the_identity_and_learns_from_the_first_step(architecture) -> None:
    generator = generator_of(architecture, head="gated")
    ncct = torch.rand(2, 1, 3 * generator.multiple, 2 * generator.multiple) * 1.8 - 0.9
    assert torch.equal(generator(ncct), ncct)
    assert generator.net(ncct).shape[1] == 2
    (generator(ncct) - ncct - 0.1).square().sum().backward()
    assert any(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in generator.parameters())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_weight_learns_and_torchscript_gives_the_same(architecture) -> None:
    generator = generator_of(architecture, residual_output=False, norm="batch")
    ncct = torch.rand(2, 1, 2 * generator.multiple, 2 * generator.multiple) - 0.5
    generator(ncct).square().sum().backward()
    # A weight without a gradient stops a training in several processes.
    assert [name for name, weight in generator.named_parameters() if weight.grad is None] == []
    generator.eval()
    with torch.no_grad():
        assert torch.allclose(torch.jit.script(generator)(ncct), generator(ncct), atol=1e-6)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_residual_units_are_heeded_where_there_are_any(architecture) -> None:
    sizes = [sum(p.numel() for p in generator_of(architecture, num_res_units=n).parameters()) for n in (0, 1)]
    assert (sizes[0] == sizes[1]) is (architecture in ("basic_unet", "unet_plus_plus"))


@pytest.mark.parametrize(
    ("architecture", "channels", "norm", "sides", "problem"),
    [
        ("unet", [8], "batch", [32, 32], "model.channels is [8], expected at least 2 levels"),
        ("basic_unet", [4, 8], "batch", [32, 32], "model.channels is [4, 8], expected 5 levels"),
        ("dynunet", [4, 8, 16, 32, 64], "batch", [64, 40], "data.patch_size is [64, 40], expected multiples of 16"),
        ("unet", [4, 8, 16], "instance", [4, 4], "expected more than 4 one way"),
        ("resnet", [4, 8], "batch", [32, 32], "model.architecture is 'resnet', expected one of unet, basic_unet"),
    ],
)
def test_what_an_entry_cannot_take_is_named(architecture, channels, norm, sides, problem) -> None:
    (found,) = architecture_problems(architecture, channels, norm, sides)
    assert problem in found


@pytest.mark.parametrize("architecture", ["no_such_module.Net", "os.getcwd", "pathlib.Path", "torch.nn.NoSuchNet"])
def test_what_is_no_network_class_is_named(architecture) -> None:
    with pytest.raises(InputError, match=r"model\.architecture is"):
        own_class(architecture)


def test_a_class_of_the_users_own_says_its_multiple_and_how_it_is_zeroed(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "users_nets.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Conv2d):\n"
        "    multiple = 4\n"
        "    def __init__(self, width):\n"
        "        super().__init__(1, 1, width, padding=width // 2)\n"
        "    def zero_top(self):\n"
        "        torch.nn.init.zeros_(self.weight)\n"
        "        torch.nn.init.zeros_(self.bias)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    generator = Generator(architecture="users_nets.Net", arguments={"width": 5})
    ncct = torch.rand(1, 1, 8, 8)
    assert generator.net.kernel_size == (5, 5)
    assert generator.multiple == 4
    assert torch.equal(generator(ncct), ncct)
