"""Numbers that tell whether a training is healthy, and the stop before a loss that isn't finite."""

from __future__ import annotations

import pytest
import torch
from ignite.engine import Events
from tiny_engine import Identity, make_trainer, same_weights, tiny_batch, tiny_cascade, weights_of

from ncct_cta.common import keys
from ncct_cta.common.errors import InputError
from ncct_cta.handlers import DiagnosticsHandler, EMAHandler
from ncct_cta.handlers.ema import AveragedNetwork


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_before_the_weights_change(value):
    good, bad = tiny_batch(0), tiny_batch(1)
    bad[keys.CTA][0, 0, 3, 3] = value
    network = tiny_cascade()
    average = AveragedNetwork(network, 0.9)
    after_good = []
    trainer = make_trainer(network, [good, bad], handlers=[DiagnosticsHandler(), EMAHandler(average)])
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: after_good.append(weights_of(network)))
    averaged = weights_of(average.averaged)
    with pytest.raises(InputError, match=r"iteration 2 \(cases case1-0, case1-1\)"):
        trainer.run()
    assert len(after_good) == 1
    assert same_weights(weights_of(network), after_good[0])
    assert not same_weights(weights_of(average.averaged), averaged)  # of the good step


def test_a_step_tells_what_g_changed_and_how_far_it_is_from_the_cta():
    batch, network = tiny_batch(), Identity(shift=0.05)
    trainer = make_trainer(network, [batch], lr=0.125, handlers=[DiagnosticsHandler()])
    trainer.run()
    terms = trainer.state.output[keys.TERMS]
    assert float(terms[keys.RESIDUAL_MAG]) == pytest.approx(0.05, abs=1e-6)
    expected = (batch[keys.NCCT] + 0.05 - batch[keys.CTA]).abs().mean()
    assert float(terms[keys.L1_VS_CTA]) == pytest.approx(float(expected), rel=1e-5)
    assert terms[keys.LR] == 0.125
    assert keys.INTER_L1 not in terms


def test_with_g2_a_step_tells_what_the_refinement_changed():
    batch = tiny_batch()
    network = tiny_cascade(refine=True)
    for parameter in network.refine_net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    with torch.no_grad():
        stages = network(batch[keys.NCCT])
    trainer = make_trainer(network, [batch], handlers=[DiagnosticsHandler(refine=True)])
    trainer.run()
    terms = trainer.state.output[keys.TERMS]
    inter_l1 = (stages.intermediate - batch[keys.CTA]).abs().mean()
    refine_delta = (stages.refined - stages.intermediate).abs().mean()
    assert float(terms[keys.INTER_L1]) == pytest.approx(float(inter_l1), rel=1e-5)
    assert float(terms[keys.REFINE_DELTA]) == pytest.approx(float(refine_delta), rel=1e-5)
    assert float(refine_delta) > 0
