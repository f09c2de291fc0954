import copy

import pytest
import torch
from torch import nn

from ncct_cta.networks import FUSION_CHANNELS, Generator, RefineNet, SynthesisCascade, Synthesizer, intermediate_image


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
@pytest.mark.parametrize("fusion", ["product", "concat"])
def test_scripted_cascade_gives_the_same_stages(fusion, freeze_generator):
    cascade = small_cascade(fusion, freeze_generator=freeze_generator).eval()
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
