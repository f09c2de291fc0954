"""Training against D: the two never train each other, real is the CTA, and every option runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.engines.utils import IterationEvents
from tiny_engine import CPU, same_weights, tiny_batch, tiny_cascade, weights_of
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from ncct_cta.common import keys
from ncct_cta.engines import AdversarialSynthesisTrainer, Adversary, NetworkUpdate, adversarial_trainer
from ncct_cta.handlers import AveragedNetwork, DiagnosticsHandler, EMAHandler
from ncct_cta.losses.adversarial import AdversarialLoss
from ncct_cta.losses.aligned import Aligned, AlignedReconstruction
from ncct_cta.losses.gradient_penalty import r1_penalty
from ncct_cta.losses.reconstruction import ReconstructionLoss
from ncct_cta.networks import (
    Generator,
    Judgement,
    MultiScaleDiscriminator,
    RefineNet,
    RegistrationNet,
    SynthesisCascade,
    warp,
)
from ncct_cta.train.builders import build_schedule

D_TERMS = {keys.D_LOSS, keys.D_REAL, keys.D_FAKE, keys.GAN_G, keys.FEAT_MATCH, keys.GNORM_D}


def tiny_discriminator(spatial_dims: int = 2, seed: int = 3) -> MultiScaleDiscriminator:
    torch.manual_seed(seed)
    return MultiScaleDiscriminator(spatial_dims, hidden_dim=4, num_layers=2)


def tiny_registration(spatial_dims: int = 2) -> RegistrationNet:
    """R that moves something already: it starts at zero, which would hide a missing warp."""
    torch.manual_seed(4)
    net = RegistrationNet(spatial_dims)
    for parameter in net.net.get_submodule("net.1.final_conv_out.conv").parameters():
        nn.init.normal_(parameter, std=0.5)
    return net


def make_update(nets: Mapping[str, nn.Module | None], *, lr: float = 1e-2, **options: Any) -> NetworkUpdate:
    groups = [
        {"name": name, "params": [p for p in net.parameters() if p.requires_grad]}
        for name, net in nets.items()
        if net is not None
    ]
    optimizer = torch.optim.AdamW(groups, lr=lr)
    return NetworkUpdate(optimizer, LambdaLR(optimizer, lambda step: 1.0), **options)


def make_trainer(
    batches: Sequence[dict[str, Any]],
    *,
    network: SynthesisCascade | None = None,
    discriminator: nn.Module | None = None,
    registration: RegistrationNet | None = None,
    spatial_dims: int = 2,
    mode: str = "least_squares",
    epochs: int = 1,
    grad_clip: float = 0.0,
    amp: str = "off",
    handlers: Sequence[Any] = (),
    trainer_class: type[AdversarialSynthesisTrainer] = AdversarialSynthesisTrainer,
    **options: Any,
) -> AdversarialSynthesisTrainer:
    network = network or tiny_cascade()
    discriminator = discriminator or tiny_discriminator(spatial_dims)
    return trainer_class(
        device=CPU,
        max_epochs=epochs,
        train_data_loader=DataLoader(batches, batch_size=None),
        network=network,
        objective=AlignedReconstruction(ReconstructionLoss(spatial_dims), registration),
        update=make_update({"G": network, "R": registration}, grad_clip=grad_clip),
        adversary=Adversary(
            discriminator,
            make_update({"D": discriminator}, grad_clip=grad_clip),
            AdversarialLoss(mode),
            amp=amp,
            **options,
        ),
        train_handlers=handlers,
        amp=amp,
    )


def no_gradients(*nets: nn.Module) -> bool:
    return all(parameter.grad is None for net in nets for parameter in net.parameters())


def aligned_images(trainer: AdversarialSynthesisTrainer, batch: Mapping[str, Any]) -> tuple[torch.Tensor, Aligned]:
    """The reconstruction loss and what D is shown, as an iteration computes them."""
    stages = trainer.network(batch[keys.NCCT])
    terms, aligned = trainer.objective(batch[keys.NCCT], stages.refined, batch[keys.CTA], batch[keys.LUNG])
    return terms[keys.LOSS], aligned


# ---- isolation


def test_a_generator_step_leaves_nothing_in_the_discriminator():
    trainer = make_trainer([tiny_batch()])
    discriminator = trainer.d_network.train()
    discriminator(torch.rand(2, 1, 16, 16), torch.rand(2, 1, 16, 16))  # the spectral norm's vectors have moved
    before_d, before_g = weights_of(discriminator), weights_of(trainer.network)
    loss, aligned = aligned_images(trainer, tiny_batch())
    judged = trainer.adversary.judge(aligned)
    trainer.update(loss + judged[keys.GAN_G] + judged[keys.FEAT_MATCH])
    assert any("_u" in name for name in before_d)
    assert same_weights(weights_of(discriminator), before_d)
    assert no_gradients(discriminator)
    assert not same_weights(weights_of(trainer.network), before_g)


def test_the_adversarial_loss_alone_reaches_the_generator():
    trainer = make_trainer([tiny_batch()])
    _, aligned = aligned_images(trainer, tiny_batch())
    judged = trainer.adversary.judge(aligned)
    for term in (keys.GAN_G, keys.FEAT_MATCH):
        parameters = list(trainer.network.parameters())
        gradients = torch.autograd.grad(judged[term], parameters, retain_graph=True)
        assert any(gradient.abs().sum() > 0 for gradient in gradients)


def test_a_discriminator_step_leaves_nothing_in_the_generator_the_registration_and_the_average():
    network, registration = tiny_cascade(norm="batch"), tiny_registration()
    average = AveragedNetwork(network)
    trainer = make_trainer([tiny_batch()], network=network, registration=registration)
    _, aligned = aligned_images(trainer, tiny_batch())
    nets = (network, registration, average.averaged)
    before = [weights_of(net) for net in nets]
    before_d = weights_of(trainer.d_network)
    trainer.adversary.step(aligned)
    assert all(same_weights(weights_of(net), state) for net, state in zip(nets, before, strict=True))
    assert no_gradients(*nets)
    assert not same_weights(weights_of(trainer.d_network), before_d)


class Watch:
    """The states of the nets around D's step and after the generator's, in a whole iteration."""

    def __init__(self, trainer: AdversarialSynthesisTrainer, others: Sequence[nn.Module]) -> None:
        self.trainer, self.others = trainer, others
        self.after_d: dict[str, torch.Tensor] = {}
        step = trainer.adversary.update.__call__

        def watched(loss: torch.Tensor) -> dict[str, torch.Tensor]:
            self.before = [weights_of(net) for net in others]
            norms = step(loss)
            self.after = [weights_of(net) for net in others]
            self.others_have_no_gradient = no_gradients(*others)
            self.after_d = weights_of(trainer.d_network)
            return norms

        watched.check, watched.lrs = trainer.adversary.update.check, {}
        trainer.adversary.update = watched  # type: ignore[assignment]


def test_in_a_whole_iteration_each_step_changes_its_own_nets_only():
    network, registration = tiny_cascade(norm="batch"), tiny_registration()
    average = AveragedNetwork(network)
    trainer = make_trainer(
        [tiny_batch(0), tiny_batch(1)],
        network=network,
        registration=registration,
        handlers=[EMAHandler(average), DiagnosticsHandler()],
        steps=2,
    )
    watch = Watch(trainer, (network, registration, average.averaged))
    checked = []

    @trainer.on(Events.ITERATION_COMPLETED)
    def check(engine: Any) -> None:
        assert all(same_weights(one, other) for one, other in zip(watch.before, watch.after, strict=True))
        assert watch.others_have_no_gradient
        # The last that changed D was its own step, though the generator's came after it.
        assert same_weights(weights_of(trainer.d_network), watch.after_d)
        assert no_gradients(trainer.d_network)
        checked.append(not same_weights(weights_of(network), watch.after[0]))

    trainer.run()
    assert checked == [True, True]


def test_a_gradient_that_someone_left_in_the_discriminator_does_not_count():
    states = []
    for left in (0.0, 100.0):
        trainer = make_trainer([tiny_batch()])
        _, aligned = aligned_images(trainer, tiny_batch())
        for parameter in trainer.d_network.parameters():
            parameter.grad = torch.full_like(parameter, left)
        trainer.adversary.step(aligned)
        states.append(weights_of(trainer.d_network))
    assert same_weights(*states)


@pytest.mark.parametrize("training", [True, False])
def test_the_discriminator_judges_in_eval_mode_and_is_given_back_as_it_was(training):
    trainer = make_trainer([tiny_batch()])
    discriminator = trainer.d_network.train(training)
    modes = []
    discriminator.register_forward_hook(
        lambda module, inputs, output: modes.append(
            (module.training, any(parameter.requires_grad for parameter in module.parameters()))
        )
    )
    trainer.adversary.judge(aligned_images(trainer, tiny_batch())[1])
    assert modes == [(False, False)] * 2
    assert discriminator.training is training
    assert all(parameter.requires_grad for parameter in discriminator.parameters())


def test_real_features_carry_no_gradient():
    trainer = make_trainer([tiny_batch()])
    judgements = []
    trainer.d_network.register_forward_hook(lambda module, inputs, output: judgements.append((inputs, output)))
    batch = tiny_batch()
    _, aligned = aligned_images(trainer, batch)
    trainer.adversary.judge(aligned)
    for (_, image), judgement in judgements:
        synthetic = image is aligned.prediction
        assert all(layer.requires_grad == synthetic for scale in judgement.features for layer in scale)
    assert [inputs[1] is aligned.cta for inputs, _ in judgements] == [True, False]


# ---- what D is shown


class BrightnessDiscriminator(nn.Module):
    """Gives each image its mean as the only logit, and keeps what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.shown: list[tuple[torch.Tensor, torch.Tensor]] = []

    def forward(self, condition: torch.Tensor, image: torch.Tensor) -> Judgement:
        self.shown.append((condition.detach(), image.detach()))
        logits = image.mean(dim=tuple(range(2, image.ndim)), keepdim=True) * self.scale
        return Judgement([logits], [[image * self.scale]])


def distant_batch() -> dict[str, Any]:
    """NCCT near -0.8, CTA near 0.9: whoever takes one for the other is far off."""
    batch = tiny_batch()
    batch[keys.NCCT] = batch[keys.NCCT] * 0.05 - 0.8
    batch[keys.CTA] = batch[keys.CTA] * 0.05 + 0.9
    return batch


def test_real_is_the_cta_never_the_input():
    batch, discriminator = distant_batch(), BrightnessDiscriminator()
    untrained = SynthesisCascade(Generator(channels=(4, 8), num_res_units=0))  # gives back the NCCT
    trainer = make_trainer([batch], network=untrained, discriminator=discriminator)
    trainer.run()
    terms = trainer.state.output[keys.TERMS]
    assert float(terms[keys.D_REAL]) == pytest.approx(float(batch[keys.CTA].mean()), abs=1e-5)
    assert float(terms[keys.D_FAKE]) == pytest.approx(float(batch[keys.NCCT].mean()), abs=1e-5)
    assert float(terms[keys.D_LOSS]) == pytest.approx((0.1**2 + 0.8**2) / 2, abs=0.05)
    assert float(terms[keys.FEAT_MATCH]) == pytest.approx(1.7, abs=0.05)
    assert float(terms[keys.GAN_G]) == pytest.approx(1.8**2, abs=0.15)


def test_the_condition_is_the_input_for_both_and_only_the_image_differs():
    batch, discriminator = distant_batch(), BrightnessDiscriminator()
    trainer = make_trainer([batch], discriminator=discriminator)
    trainer.run()
    (both, images), *judged = discriminator.shown
    assert torch.equal(both, torch.cat((batch[keys.NCCT], batch[keys.NCCT])))
    assert torch.equal(images[:2], batch[keys.CTA])
    assert torch.equal(images[2:], trainer.state.output[keys.STAGES].refined)
    assert all(torch.equal(condition, batch[keys.NCCT]) for condition, _ in judged)


def test_with_registration_everything_that_d_sees_is_warped_by_one_field():
    batch, discriminator, registration = tiny_batch(), BrightnessDiscriminator(), tiny_registration()
    network = tiny_cascade()
    with torch.no_grad():
        refined = network(batch[keys.NCCT]).refined
        displacement = registration(refined, batch[keys.CTA])
        expected = (warp(batch[keys.NCCT], displacement), warp(refined, displacement), batch[keys.CTA])
    assert displacement.abs().max() > 0.5
    trainer = make_trainer([batch], network=network, discriminator=discriminator, registration=registration)
    trainer.run()
    (condition, images), (real_condition, real), (fake_condition, fake) = discriminator.shown
    for shown in (condition[:2], condition[2:], real_condition, fake_condition):
        torch.testing.assert_close(shown, expected[0])
    for shown in (images[2:], fake):
        torch.testing.assert_close(shown, expected[1])
    assert torch.equal(images[:2], batch[keys.CTA])
    assert torch.equal(real, batch[keys.CTA])


# ---- schedule and options


class Seen:
    """Notes each step's terms and D's state after it."""

    def __init__(self) -> None:
        self.terms: list[set[str]] = []
        self.states: list[dict[str, torch.Tensor]] = []

    def attach(self, engine: Any) -> None:
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Any) -> None:
        self.terms.append(set(engine.state.output[keys.TERMS]))
        self.states.append(weights_of(engine.d_network))


def test_the_warm_up_leaves_the_discriminator_untouched():
    seen, discriminator = Seen(), tiny_discriminator()
    before = weights_of(discriminator)
    trainer = make_trainer(
        [tiny_batch()], discriminator=discriminator, epochs=3, warmup_epochs=2, handlers=[DiagnosticsHandler(), seen]
    )
    trainer.run()
    assert [bool(D_TERMS & terms) for terms in seen.terms] == [False, False, True]
    assert seen.terms[2] >= D_TERMS
    assert [same_weights(state, before) for state in seen.states] == [True, True, False]


def test_without_a_warm_up_the_discriminator_joins_at_once():
    seen = Seen()
    make_trainer([tiny_batch()], handlers=[seen]).run()
    assert seen.terms[0] >= D_TERMS


def test_the_loss_is_the_weighted_sum_of_its_terms():
    trainer = make_trainer([tiny_batch()], gan_weight=0.5, feat_match_weight=3.0)
    trainer.run()
    terms = {name: float(value) for name, value in trainer.state.output[keys.TERMS].items()}
    reconstruction = terms[keys.L1] + 0.2 * (1 - terms[keys.SSIM])
    expected = reconstruction + 0.5 * terms[keys.GAN_G] + 3.0 * terms[keys.FEAT_MATCH]
    assert terms[keys.LOSS] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("steps", [1, 3])
def test_the_discriminator_takes_its_steps_for_each_of_the_generator(steps):
    trainer = make_trainer([tiny_batch(0), tiny_batch(1)], steps=steps)
    taken = {"G": 0, "D": 0}

    def count(name: str) -> None:
        taken[name] += 1

    trainer.update.optimizer.register_step_post_hook(lambda *_: count("G"))
    trainer.adversary.update.optimizer.register_step_post_hook(lambda *_: count("D"))
    trainer.run()
    assert taken == {"G": 2, "D": 2 * steps}


def test_each_net_is_clipped_and_its_norm_logged_before():
    trainer = make_trainer([tiny_batch()], grad_clip=1e-3)
    norms: dict[str, float] = {}

    def measure(name: str, optimizer: torch.optim.Optimizer) -> None:
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"]]
        norms[name] = float(torch.stack([gradient.norm() for gradient in gradients]).norm())

    for name, update in ((keys.GNORM_G, trainer.update), (keys.GNORM_D, trainer.adversary.update)):
        update.optimizer.register_step_pre_hook(lambda optimizer, *_, name=name: measure(name, optimizer))
    trainer.run()
    for name, applied in norms.items():
        assert applied == pytest.approx(1e-3, rel=1e-2)
        assert float(trainer.state.output[keys.TERMS][name]) > 1e-2


def test_the_discriminators_rate_decays_to_zero():
    """Others' bug: D's rate never decays, because the wrong optimiser is scheduled."""
    batches = [tiny_batch()] * 10
    trainer = make_trainer(batches, steps=2)
    optimizer = trainer.adversary.update.optimizer
    trainer.adversary.update.lr_scheduler = build_schedule(optimizer, "cosine", 2, 20)
    rates = []
    trainer.add_event_handler(
        IterationEvents.LOSS_COMPLETED, lambda engine: rates.append(optimizer.param_groups[0]["lr"])
    )
    trainer.run()
    assert max(rates) == pytest.approx(1e-2)
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0.0, abs=1e-9)


def test_hinge_runs_and_pays_the_generator_for_high_scores():
    trainer = make_trainer([tiny_batch()] * 2, mode="hinge")
    trainer.run()
    terms = trainer.state.output[keys.TERMS]
    assert terms.keys() >= D_TERMS
    assert all(torch.isfinite(value) for value in terms.values())
    assert float(terms[keys.D_LOSS]) > 0


@pytest.mark.parametrize("with_registration", [False, True])
def test_3d_patches_are_judged_too(with_registration):
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    ncct = torch.rand(1, 1, 16, 16, 16, generator=generator) - 0.5
    batch = {keys.NCCT: ncct, keys.CTA: ncct + 0.2, keys.LUNG: torch.ones_like(ncct), keys.CASE: ["a"]}
    network = SynthesisCascade(
        Generator(3, channels=(4, 8), num_res_units=0), RefineNet(3, hidden_dim=4, num_blocks=1), freeze_generator=False
    )
    registration = tiny_registration(3) if with_registration else None
    trainer = make_trainer([batch] * 2, network=network, registration=registration, spatial_dims=3)
    before, before_d = weights_of(network), weights_of(trainer.d_network)
    trainer.run()
    assert all(torch.isfinite(value) for value in trainer.state.output[keys.TERMS].values())
    assert not same_weights(weights_of(network), before)
    assert not same_weights(weights_of(trainer.d_network), before_d)


def test_bf16_judges_in_half_precision_and_keeps_weights_and_losses_in_full():
    trainer = make_trainer([tiny_batch()] * 3, amp="bf16", registration=tiny_registration())
    seen = []
    convolution = next(module for module in trainer.d_network.modules() if isinstance(module, nn.Conv2d))
    convolution.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    trainer.run()
    assert set(seen) == {torch.bfloat16}
    assert {parameter.dtype for parameter in trainer.d_network.parameters()} == {torch.float32}
    terms = trainer.state.output[keys.TERMS]
    assert {terms[name].dtype for name in (keys.LOSS, keys.D_LOSS, keys.GAN_G, keys.FEAT_MATCH)} == {torch.float32}
    assert all(torch.isfinite(value) for value in terms.values())


def test_a_step_holds_no_graph():
    trainer = make_trainer([tiny_batch()])
    trainer.run()
    output = trainer.state.output
    assert not any(term.requires_grad for term in output[keys.TERMS].values())
    assert not any(image.requires_grad for image in output[keys.STAGES])


# ---- a frozen G


@pytest.mark.parametrize("frozen", [True, False])
def test_g_below_g2_is_kept_bit_for_bit_or_trains(frozen):
    torch.manual_seed(0)
    network = SynthesisCascade(
        Generator(channels=(4, 8), num_res_units=1, norm="batch"),
        RefineNet(hidden_dim=4, num_blocks=1),
        freeze_generator=frozen,
    )
    average = AveragedNetwork(network)
    before = weights_of(network.generator)
    trainer = make_trainer([tiny_batch(seed) for seed in range(3)], network=network, handlers=[EMAHandler(average)])
    trainer.run()
    after, averaged = weights_of(network.generator), weights_of(average.averaged.generator)
    assert any("running_mean" in name for name in before)
    assert same_weights(after, before) is frozen
    assert same_weights(averaged, before) is frozen
    assert no_gradients(network.generator)


# ---- R1


def test_r1_makes_d_flatter_at_real_pairs():
    batch = tiny_batch(size=32)
    steepness = {}
    for weight in (0.0, 10.0):
        discriminator = tiny_discriminator()
        make_trainer([batch] * 20, discriminator=discriminator, r1_weight=weight).run()
        steepness[weight] = r1_penalty(discriminator.eval(), batch[keys.NCCT], batch[keys.CTA]).item()
    assert steepness[10.0] < 0.5 * steepness[0.0]


def test_r1_is_due_every_so_many_steps_and_weighs_as_much_more():
    batches, seen = [tiny_batch(seed, size=32) for seed in range(4)], []
    trainer = make_trainer(batches, r1_weight=0.5, r1_every=3)
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: seen.append(keys.R1 in engine.state.output[keys.TERMS])
    )
    trainer.run()
    assert seen == [True, False, False, True]
    lazy, eager = tiny_discriminator(), tiny_discriminator()
    for discriminator, weights in ((lazy, (0.5, 3)), (eager, (1.5, 1))):
        made = make_trainer(batches[:1], discriminator=discriminator, r1_weight=weights[0], r1_every=weights[1])
        made.run()
    assert same_weights(weights_of(lazy), weights_of(eager))


# ---- which term the generator follows


def test_the_pulls_add_up_to_the_gradient_at_the_generators_output():
    trainer = make_trainer([tiny_batch(size=32)], gan_weight=0.3, feat_match_weight=0.7)
    loss, aligned = aligned_images(trainer, tiny_batch(size=32))
    judged = trainer.adversary.judge(aligned)
    pulls = trainer.adversary.pulls(aligned.prediction, loss, judged)
    for name, weight in ((keys.GAN_G, 0.3), (keys.FEAT_MATCH, 0.7)):
        (gradient,) = torch.autograd.grad(judged[name], aligned.prediction, retain_graph=True)
        assert pulls[f"pull_{name}"] == pytest.approx(weight * float(gradient.flatten(1).norm(dim=1).sum()), rel=1e-5)
    assert pulls[keys.PULL_RECONSTRUCTION] > 0


def test_looking_at_the_pulls_changes_no_weight(monkeypatch):
    after = []
    for every in (1, 10**9):
        monkeypatch.setattr(adversarial_trainer, "PULLS_EVERY", every)
        network = tiny_cascade()
        trainer = make_trainer([tiny_batch(size=32)] * 2, network=network)
        trainer.run()
        assert (keys.PULL_GAN_G in trainer.state.output[keys.TERMS]) is (every == 1)
        after.append(weights_of(network))
    assert same_weights(*after)
