"""A training step: it learns, clips, keeps frozen parts, and leaves what the handlers look at."""

from __future__ import annotations

import math

import pytest
import torch
from ignite.engine import Events
from monai.engines.utils import IterationEvents
from tiny_engine import CPU, Identity, make_trainer, same_weights, tiny_batch, tiny_cascade, weights_of
from torch import nn

from ncct_cta.common.keys import CASE, CTA, GNORM_G, L1, LOSS, LUNG, NCCT, SSIM, STAGES, TERMS
from ncct_cta.data import EpochSampler
from ncct_cta.losses.reconstruction import ReconstructionLoss
from ncct_cta.networks import Stages
from ncct_cta.train.builders import build_loader, build_schedule


def loss_on(network: nn.Module, batch) -> float:
    with torch.no_grad():
        return float(ReconstructionLoss()(network(batch[NCCT]).refined, batch[CTA], batch[LUNG])[LOSS])


def test_one_step_lowers_the_loss_of_its_batch():
    batch, network = tiny_batch(), tiny_cascade()
    before = loss_on(network, batch)
    make_trainer(network, [batch], lr=1e-3).run()
    assert loss_on(network, batch) < before


def test_a_step_leaves_the_batch_the_stages_and_the_terms():
    batch, network = tiny_batch(), tiny_cascade()
    expected = network(batch[NCCT])
    trainer = make_trainer(network, [batch])
    trainer.run()
    output = trainer.state.output
    assert torch.equal(output[NCCT], batch[NCCT])
    assert output[CASE] == batch[CASE]
    assert all(torch.equal(one, other) for one, other in zip(output[STAGES], expected, strict=True))
    assert {LOSS, L1, SSIM, GNORM_G} <= output[TERMS].keys()
    assert not any(image.requires_grad for image in output[STAGES])  # or the graph would outlive the step
    assert not any(term.requires_grad for term in output[TERMS].values())


def test_losses_and_handlers_see_the_middle_of_several_slices():
    class MiddleOfThree(Identity):
        def forward(self, ncct: torch.Tensor) -> Stages:
            assert ncct.shape[1] == 3
            return super().forward(ncct[:, 1:2])

    batch = tiny_batch()
    around = torch.cat((batch[NCCT] - 0.1, batch[NCCT], batch[NCCT] + 0.1), dim=1)
    one, three = Identity(), MiddleOfThree()
    trainers = [make_trainer(one, [batch]), make_trainer(three, [{**batch, NCCT: around}])]
    for trainer in trainers:
        trainer.run()
    assert torch.equal(trainers[1].state.output[NCCT], batch[NCCT])
    assert torch.equal(one.shift, three.shift)


def test_the_objective_is_told_the_epoch():
    network, seen = Identity(), []
    trainer = make_trainer(network, [tiny_batch()], epochs=3)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: seen.append(engine.objective.epoch))
    trainer.run()
    assert seen == [1, 2, 3]


def test_the_norm_is_logged_before_clipping_and_the_step_is_taken_after():
    batch, network = tiny_batch(), tiny_cascade()
    ReconstructionLoss()(network(batch[NCCT]).refined, batch[CTA], batch[LUNG])[LOSS].backward()
    norm = math.sqrt(sum(float(p.grad.square().sum()) for p in network.parameters()))
    before = weights_of(network)
    trainer = make_trainer(network, [batch], optimizer=torch.optim.SGD, lr=1.0, grad_clip=norm / 10)
    trainer.run()
    moved = math.sqrt(sum(float((p.detach() - before[n]).square().sum()) for n, p in network.named_parameters()))
    assert float(trainer.state.output[TERMS][GNORM_G]) == pytest.approx(norm, rel=1e-4)
    assert moved == pytest.approx(norm / 10, rel=1e-3)


def test_a_clip_of_zero_does_not_clip():
    batch, network = tiny_batch(), tiny_cascade()
    before = weights_of(network)
    trainer = make_trainer(network, [batch], optimizer=torch.optim.SGD, lr=1.0, grad_clip=0.0)
    trainer.run()
    moved = math.sqrt(sum(float((p.detach() - before[n]).square().sum()) for n, p in network.named_parameters()))
    assert moved == pytest.approx(float(trainer.state.output[TERMS][GNORM_G]), rel=1e-3)


def test_a_frozen_generator_keeps_its_weights_and_its_buffers():
    network = tiny_cascade(refine=True, norm="batch")
    before = weights_of(network)
    make_trainer(network, [tiny_batch(0), tiny_batch(1)]).run()
    after = weights_of(network)
    of_g = [name for name in before if name.startswith("generator.")]
    assert any("running_mean" in name for name in of_g)
    assert all(torch.equal(before[name], after[name]) for name in of_g)
    assert not same_weights(before, after)  # G2 did learn


def test_the_network_trains_in_training_mode_whatever_a_validation_left():
    network = tiny_cascade(norm="batch").eval()
    trainer = make_trainer(network, [tiny_batch()], epochs=2)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: network.eval())
    modes = []
    trainer.add_event_handler(IterationEvents.LOSS_COMPLETED, lambda engine: modes.append(network.training))
    trainer.run()
    assert modes == [True, True]


def test_bf16_trains_on_a_cpu():
    batch, network = tiny_batch(), tiny_cascade()
    before, seen = loss_on(network, batch), []
    convolution = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    convolution.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    trainer = make_trainer(network, [batch] * 5, lr=3e-3, amp="bf16")
    trainer.run()
    assert set(seen) == {torch.bfloat16}
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    assert trainer.state.output[TERMS][LOSS].dtype == torch.float32
    assert loss_on(network, batch) < before


def rates(kind: str, *, warmup: int, total: int, peak: float = 2.0) -> list[float]:
    """The learning rate that each step is taken with."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=peak)
    scheduler = build_schedule(optimizer, kind, warmup, total)
    drawn = []
    for _ in range(total):
        drawn.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return drawn


def test_the_rate_warms_up_in_a_line_and_falls_as_a_cosine():
    drawn = rates("cosine", warmup=4, total=24)
    assert drawn[:5] == pytest.approx([0.0, 0.5, 1.0, 1.5, 2.0])
    expected = [1 + math.cos(math.pi * (step - 4) / 20) for step in range(4, 24)]
    assert drawn[4:] == pytest.approx(expected)


def test_a_constant_rate_stays_after_the_warm_up():
    assert rates("constant", warmup=2, total=6) == pytest.approx([0.0, 1.0, 2.0, 2.0, 2.0, 2.0])


def test_a_net_that_joins_later_has_a_schedule_of_its_own_from_then_on():
    groups = [{"params": [nn.Parameter(torch.zeros(()))]} for _ in range(2)]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    first, late = build_schedule(optimizer, "cosine", 4, 40, [0, 20]).lr_lambdas
    _, alone = build_schedule(optimizer, "cosine", 4, 20).lr_lambdas
    assert [late(step) for step in range(20)] == [0.0] * 20
    assert [late(step) for step in range(20, 40)] == [alone(step) for step in range(20)]
    assert first(10) > 0.9
    _, without_warm_up = build_schedule(optimizer, "constant", 0, 40, [0, 20]).lr_lambdas
    assert [without_warm_up(step) for step in (19, 20)] == [0.0, 1.0]


def test_a_run_shorter_than_its_warm_up_reaches_the_peak():
    assert max(rates("cosine", warmup=200, total=10)) == pytest.approx(2.0)


def test_the_rate_moves_on_once_a_step():
    network = Identity()
    optimizer = torch.optim.SGD([{"params": list(network.parameters()), "name": "G"}], lr=2.0)
    trainer = make_trainer(network, [tiny_batch()] * 3)
    trainer.update.optimizer = optimizer
    trainer.update.lr_scheduler = build_schedule(optimizer, "constant", 4, 100)
    drawn = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: drawn.append(engine.update.lr))
    trainer.run()
    assert drawn == pytest.approx([0.0, 0.5, 1.0])


class Positions(torch.utils.data.Dataset):
    """Gives a batchable sample, and notes the key that it was asked for."""

    def __init__(self) -> None:
        self.asked = []

    def __getitem__(self, key):
        self.asked.append(key)
        batch = tiny_batch(sum(key))
        return {name: batch[name][0] for name in (NCCT, CTA, LUNG)} | {CASE: str(key)}


@pytest.mark.parametrize("first_epoch", [0, 2], ids=["new", "resumed after epoch 2"])
def test_every_epoch_asks_for_its_own_samples(first_epoch):
    dataset = Positions()
    batches = build_loader(dataset, CPU, batch_size=2, sampler=EpochSampler(dataset, 4))
    trainer = make_trainer(tiny_cascade(), batches, epochs=4)
    trainer.state.epoch, trainer.state.iteration = first_epoch, 2 * first_epoch
    trainer.run()
    assert dataset.asked == [(epoch, position) for epoch in range(first_epoch + 1, 5) for position in range(4)]
