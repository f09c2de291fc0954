"""The moving average of the weights: its formula, its warm-up, its buffers, and what a resumed run makes of it."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine
from tiny_engine import make_trainer, same_weights, tiny_batch, tiny_cascade, weights_of
from torch import nn

from ncct_cta.handlers import AveragedNetwork, EMAHandler


def one_weight(value: float = 0.0) -> nn.Module:
    network = nn.Linear(1, 1, bias=False)
    network.weight.data.fill_(value)
    return network


def averages(values: list[float], decay: float) -> list[float]:
    """What the average is after each of the weights in ``values``."""
    network = one_weight()
    average = AveragedNetwork(network, decay)
    drawn = []
    for value in values:
        network.weight.data.fill_(value)
        average.update()
        drawn.append(float(average.averaged.weight))
    return drawn


def test_the_average_follows_its_formula_with_a_warm_up():
    # The first update copies; then decay = min(0.3, (1 + n) / (10 + n)) after n updates: 2/11, 3/12, 0.3, 0.3.
    expected = [5.0]
    for value, decay in zip([1.0, 2.0, 8.0, 4.0], [2 / 11, 3 / 12, 0.3, 0.3], strict=True):
        expected.append(decay * expected[-1] + (1 - decay) * value)
    assert averages([5.0, 1.0, 2.0, 8.0, 4.0], decay=0.3) == pytest.approx(expected)


def test_without_decay_the_average_is_the_weights():
    assert averages([5.0, 1.0, 2.0], decay=0.0) == pytest.approx([5.0, 1.0, 2.0])


def test_buffers_are_copied_and_never_shared():
    network = nn.BatchNorm1d(2)
    average = AveragedNetwork(network, 0.9)
    for _ in range(3):
        network(torch.rand(4, 2))
        average.update()
    assert torch.equal(average.averaged.running_mean, network.running_mean)
    assert average.averaged.num_batches_tracked == 3
    network(torch.rand(4, 2))
    assert not torch.equal(average.averaged.running_mean, network.running_mean)
    assert average.averaged.num_batches_tracked == 3


def test_the_average_wants_no_gradient_and_a_frozen_part_stays_what_it_is():
    network = tiny_cascade(refine=True)
    average = AveragedNetwork(network, 0.9)
    before = weights_of(network)
    make_trainer(network, [tiny_batch()] * 5, handlers=[EMAHandler(average)]).run()
    averaged = average.averaged.state_dict()
    assert not any(parameter.requires_grad for parameter in average.averaged.parameters())
    assert all(torch.equal(averaged[name], before[name]) for name in before if name.startswith("generator."))
    assert not same_weights(dict(averaged), weights_of(network))


def test_disabled_it_is_the_network_itself():
    network = one_weight(3.0)
    average = AveragedNetwork(network, 0.9, enabled=False)
    average.update()
    average.set_updates(7)
    assert average.averaged is network


def run_steps(average: AveragedNetwork, network: nn.Module, *, first: int, last: int) -> None:
    """Steps ``first + 1`` to ``last`` of a training whose weight is a function of the step."""

    def step(engine, batch):
        network.weight.data.fill_(float(engine.state.iteration**2 % 17))

    engine = Engine(step)
    EMAHandler(average).attach(engine)
    engine.state.iteration = engine.state.epoch = first
    engine.state.max_epochs, engine.state.epoch_length = last, 1
    engine.run([0])


def test_a_resumed_average_goes_on_where_it_was():
    network = one_weight()
    whole = AveragedNetwork(network, 0.6)
    run_steps(whole, network, first=0, last=12)
    network = one_weight()
    first = AveragedNetwork(network, 0.6)
    run_steps(first, network, first=0, last=5)
    resumed = AveragedNetwork(network, 0.6)
    resumed.averaged.load_state_dict(first.averaged.state_dict())
    run_steps(resumed, network, first=5, last=12)
    assert torch.equal(resumed.averaged.weight, whole.averaged.weight)
