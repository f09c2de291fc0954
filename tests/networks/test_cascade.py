import copy

import pytest
import torch
from torch import nn

from ncct_cta.networks import (
    FUSION_CHANNELS,
    Generator,
    RefineNet,
    SynthesisCascade,
    Synthesizer,
    intermediate_image,
    root_image,
)


def small_generator(norm="batch"):
    # Batch norm, because its running statistics are what a careless freeze forgets.
    return Generator(channels=(8, 16), num_res_units=1, norm=norm)


def small_cascade(fusion="product", kind=SynthesisCascade, **kwargs):
    torch.manual_seed(0)
    refine_net = RefineNet(in_channels=FUSION_CHANNELS[fusion], hidden_dim=8, num_blocks=1)
    return kind(small_generator(), refine_net, fusion=fusion, **kwargs)


def random_ncct(seed=1):
    return torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def randomise(module):
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.1)


def train_one_step(cascade):
    cascade.train()
    trained = [p for p in cascade.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=1e-2, weight_decay=0.1)
    cascade(random_ncct()).refined.square().mean().backward()
    optimiser.step()


def test_intermediate_image_is_x_times_abs_coarse():
    ncct, coarse = torch.tensor([-1.0, 0.5, -0.5]), torch.tensor([-1.0, -0.5, 0.2])
    torch.testing.assert_close(intermediate_image(ncct, coarse), torch.tensor([-1.0, 0.25, -0.1]))


def test_without_refine_net_refined_is_coarse():
    stages = SynthesisCascade(small_generator())(random_ncct())
    assert stages.refined is stages.coarse


def test_product_starts_at_the_clamped_intermediate_bit_for_bit():
    stages = small_cascade("product")(random_ncct())
    assert torch.equal(stages.refined, stages.intermediate.clamp(-1, 1))


def test_concat_starts_at_the_clamped_coarse_bit_for_bit():
    stages = small_cascade("concat")(random_ncct())
    assert torch.equal(stages.refined, stages.coarse.clamp(-1, 1))


@pytest.mark.parametrize("fusion", ["product", "concat"])
def test_on_coarse_an_untrained_refine_net_gives_back_coarse_bit_for_bit(fusion):
    stages = small_cascade(fusion, base="coarse")(random_ncct())
    assert not torch.equal(stages.coarse, stages.intermediate)
    assert torch.equal(stages.refined, stages.coarse)


@pytest.mark.parametrize("fusion", ["product", "concat"])
def test_on_root_an_untrained_refine_net_gives_back_the_root(fusion):
    ncct = random_ncct()
    stages = small_cascade(fusion, base="root")(ncct)
    assert torch.equal(stages.refined, root_image(ncct, stages.coarse))


def test_root_image_is_the_geometric_mean_in_0_to_1():
    ncct, coarse = torch.tensor([0.0, 0.5, -0.5, 0.31]), torch.tensor([1.0, 0.5, 0.5, 0.69])
    u, v = (ncct + 1) / 2, (coarse + 1) / 2
    torch.testing.assert_close(root_image(ncct, coarse), 2 * (u * v) ** 0.5 - 1)
    torch.testing.assert_close(root_image(ncct, ncct), ncct)


def test_the_root_of_air_has_a_finite_slope():
    coarse = torch.full((1,), -1.0, requires_grad=True)
    root = root_image(torch.ones(1), coarse)
    root.backward()
    assert coarse.grad.isfinite().all()
    assert abs(root.item() + 1) < 1e-3


@pytest.mark.parametrize("fusion", ["product", "concat"])
def test_refine_net_sees_what_fusion_says(fusion):
    class Recorder(nn.Module):
        def forward(self, features, base):
            self.features, self.base = features, base
            return base

    ncct, recorder = random_ncct(), Recorder()
    stages = SynthesisCascade(small_generator(), recorder, fusion=fusion)(ncct)
    if fusion == "product":
        assert torch.equal(recorder.features, stages.intermediate)
        assert torch.equal(recorder.base, stages.intermediate)
    else:
        assert torch.equal(recorder.features, torch.cat((stages.intermediate, ncct, stages.coarse), dim=1))
        assert torch.equal(recorder.base, stages.coarse)


def test_unknown_fusion_names_the_valid_ones():
    with pytest.raises(ValueError, match=r"'sum', expected one of 'product', 'concat'"):
        SynthesisCascade(small_generator(), fusion="sum")


def test_unknown_base_names_the_valid_ones():
    with pytest.raises(ValueError, match=r"'sum', expected one of 'auto', 'product', 'coarse', 'root'"):
        SynthesisCascade(small_generator(), base="sum")


@pytest.mark.parametrize("fusion", ["product", "concat"])
def test_frozen_generator_is_bit_identical_after_a_training_step(fusion):
    cascade = small_cascade(fusion)
    before = copy.deepcopy(cascade.generator.state_dict())
    untrained = copy.deepcopy(cascade.refine_net.state_dict())
    train_one_step(cascade)
    assert all(torch.equal(before[name], value) for name, value in cascade.generator.state_dict().items())
    assert any(not torch.equal(untrained[name], value) for name, value in cascade.refine_net.state_dict().items())


def test_frozen_generator_gets_no_gradient_and_stays_in_eval_mode():
    cascade = small_cascade().train()
    assert cascade.refine_net.training
    assert not any(module.training for module in cascade.generator.modules())
    assert not any(p.requires_grad for p in cascade.generator.parameters())
    assert not cascade(random_ncct()).coarse.requires_grad


def test_frozen_generator_records_no_graph_even_for_an_input_with_gradient():
    assert not small_cascade()(random_ncct().requires_grad_()).coarse.requires_grad


@pytest.mark.parametrize("fusion", ["product", "concat"])
def test_unfrozen_generator_is_trained_with_refine_net(fusion):
    cascade = small_cascade(fusion, freeze_generator=False).train()
    assert all(module.training for module in cascade.generator.modules())
    cascade(random_ncct()).refined.square().mean().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in cascade.generator.parameters())


def test_freezing_has_no_effect_without_refine_net():
    cascade = SynthesisCascade(small_generator(), freeze_generator=True).train()
    assert all(module.training for module in cascade.modules())
    assert all(p.requires_grad for p in cascade.parameters())


def test_train_and_eval_return_the_cascade():
    cascade = small_cascade()
    assert cascade.train() is cascade
    assert cascade.eval() is cascade


@pytest.mark.parametrize("freeze_generator", [True, False])
@pytest.mark.parametrize(("fusion", "base"), [("product", "auto"), ("concat", "auto"), ("concat", "root")])
def test_scripted_cascade_gives_the_same_stages(fusion, base, freeze_generator):
    cascade = small_cascade(fusion, freeze_generator=freeze_generator, base=base).eval()
    randomise(cascade.refine_net)
    scripted, ncct = torch.jit.script(cascade), random_ncct()
    for expected, got in zip(cascade(ncct), scripted(ncct), strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("with_refine_net", [True, False])
def test_scripted_synthesizer_gives_the_refined_image(with_refine_net):
    torch.manual_seed(0)
    synthesizer = small_cascade(kind=Synthesizer) if with_refine_net else Synthesizer(small_generator())
    synthesizer.eval()
    scripted, ncct = torch.jit.script(synthesizer), random_ncct()
    torch.testing.assert_close(scripted(ncct), synthesizer(ncct))
    assert torch.equal(synthesizer(ncct), synthesizer.stages(ncct).refined)


@pytest.mark.parametrize("fusion", FUSION_CHANNELS)
def test_g_alone_sees_the_slices_around(fusion: str) -> None:
    torch.manual_seed(0)
    generator = Generator(channels=(4, 8), num_res_units=0, in_slices=3)
    refine_net = RefineNet(in_channels=FUSION_CHANNELS[fusion], hidden_dim=4, num_blocks=1)
    cascade = SynthesisCascade(generator, refine_net, fusion)
    ncct = torch.rand(2, 3, 16, 16) - 0.5
    stages = cascade(ncct)
    assert torch.equal(stages.coarse, ncct[:, 1:2])
    assert torch.equal(stages.intermediate, ncct[:, 1:2] * ncct[:, 1:2].abs())
    assert stages.refined.shape == (2, 1, 16, 16)
