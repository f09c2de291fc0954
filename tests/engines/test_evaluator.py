"""Validation: the same path as inference, errors in HU beside the identity's, val_loss as in training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Events
from tiny_engine import CPU, Identity, tiny_cascade
from torch.utils._python_dispatch import TorchDispatchMode

from ncct_cta.common import keys
from ncct_cta.common.hu import HUWindow
from ncct_cta.engines import SynthesisEvaluator
from ncct_cta.inferers.volume import VolumeInferer
from ncct_cta.losses.reconstruction import ReconstructionLoss

WINDOW = HUWindow(-1000.0, 1000.0)
SHAPE = (16, 18, 5)


def make_case(seed: int, name: str = "p1") -> dict:
    """A batch of one case, as the loader over ``VolumeDataset`` gives it."""
    random = np.random.default_rng(seed)
    ncct = random.integers(-900, 900, SHAPE).astype(np.int16)
    cta = ncct.copy()
    cta[6:10, 6:10] += 60 + 20 * seed
    lung, vessel, body = (np.zeros(SHAPE, np.uint8) for _ in range(3))
    lung[:8], vessel[6:10, 6:10], body[1:-1] = 1, 1, 1
    volumes = {keys.NCCT: ncct, keys.CTA: cta, keys.LUNG: lung, keys.VESSEL: vessel, keys.BODY: body}
    return {key: torch.from_numpy(volume)[None, None] for key, volume in volumes.items()} | {keys.CASE: [name]}


def make_evaluator(network, cases, *, batch_size=2, patch_size=(16, 16), handlers=()) -> SynthesisEvaluator:
    inferer = VolumeInferer(window=WINDOW, patch_size=patch_size, multiple=2, batch_size=batch_size)
    return SynthesisEvaluator(
        device=CPU,
        val_data_loader=cases,
        network=network,
        inferer=inferer,
        loss_function=ReconstructionLoss(spatial_dims=len(patch_size)),
        val_handlers=list(handlers),
    )


def mae(one, other, mask) -> float:
    return float((one.double() - other.double()).abs()[mask > 0].mean())


def test_a_prediction_is_what_inference_gives():
    case, network = make_case(1), tiny_cascade()
    evaluator = make_evaluator(network, [case])
    evaluator.run()
    inferred = evaluator.inferer(case[keys.NCCT], network)[0, 0]
    assert torch.equal(torch.from_numpy(evaluator.state.output[keys.PREDICTION]), inferred)
    assert evaluator.state.output[keys.PREDICTION].shape == SHAPE


def test_errors_are_means_over_regions_in_hu():
    case = make_case(1)
    evaluator = make_evaluator(Identity(shift=0.1), [case])
    evaluator.run()
    volumes = {key: value[0, 0] for key, value in case.items() if key != keys.CASE}
    prediction = volumes[keys.NCCT].double() + 0.1 * WINDOW.half_width
    expected = {
        keys.VAL_MAE_HU: mae(prediction, volumes[keys.CTA], volumes[keys.BODY]),
        keys.VAL_LUNG_MAE_HU: mae(prediction, volumes[keys.CTA], volumes[keys.LUNG]),
        keys.VAL_VESSEL_MAE_HU: mae(prediction, volumes[keys.CTA], volumes[keys.VESSEL]),
        keys.IDENTITY_MAE_HU: mae(volumes[keys.NCCT], volumes[keys.CTA], volumes[keys.BODY]),
        keys.IDENTITY_LUNG_MAE_HU: mae(volumes[keys.NCCT], volumes[keys.CTA], volumes[keys.LUNG]),
        keys.IDENTITY_VESSEL_MAE_HU: 80.0,
    }
    metrics = {name: evaluator.state.metrics[name] for name in expected}
    assert metrics == pytest.approx(expected, abs=0.01)


def test_the_identity_has_the_identitys_errors_also_outside_the_window():
    case = make_case(1)
    case[keys.NCCT][..., 0, 0, :] = -3000  # outside the window: must stay as it is
    evaluator = make_evaluator(Identity(), [case])
    evaluator.run()
    metrics, output = evaluator.state.metrics, evaluator.state.output
    assert metrics[keys.VAL_MAE_HU] == pytest.approx(metrics[keys.IDENTITY_MAE_HU], abs=0.01)
    assert np.array_equal(output[keys.PREDICTION], output[keys.NCCT])


@pytest.mark.parametrize("batch_size", [1, 2, 5, 9])
def test_val_loss_is_the_training_loss_of_the_whole_volume(batch_size):
    case, network = make_case(1), Identity(shift=0.05)
    evaluator = make_evaluator(network, [case], batch_size=batch_size)
    evaluator.run()
    # Every slice holds as much lung: the mean over slabs is the loss of all slices at once.
    ncct, cta, lung = (case[key][0, 0].permute(2, 0, 1)[:, None].float() for key in (keys.NCCT, keys.CTA, keys.LUNG))
    with torch.no_grad():
        expected = ReconstructionLoss()(network(WINDOW.normalise(ncct)).refined, WINDOW.normalise(cta), lung)[keys.LOSS]
    assert evaluator.state.metrics[keys.VAL_LOSS] == pytest.approx(float(expected), rel=1e-5)


def test_metrics_are_means_over_the_cases():
    cases = [make_case(1), make_case(3)]
    each = []
    evaluator = make_evaluator(tiny_cascade(), cases)
    evaluator.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: each.append(dict(engine.state.output[keys.TERMS]))
    )
    evaluator.run()
    assert set(keys.VALIDATION_TERMS) <= evaluator.state.metrics.keys()
    for name in keys.VALIDATION_TERMS:
        assert evaluator.state.metrics[name] == pytest.approx(np.mean([terms[name] for terms in each]))


def test_the_lowest_val_loss_is_the_best():
    network = Identity(shift=0.3)
    evaluator = make_evaluator(network, [make_case(1)])
    best = []
    for epoch, shift in enumerate((0.3, 0.1, 0.2), start=1):
        network.shift.data.fill_(shift)
        evaluator.run(epoch)
        best.append(evaluator.state.best_metric_epoch)
    assert evaluator.state.key_metric_name == keys.VAL_LOSS
    assert best == [1, 2, 2]


def test_a_3d_network_is_validated_too():
    case = {key: value if key == keys.CASE else value.repeat(1, 1, 1, 1, 4) for key, value in make_case(1).items()}
    evaluator = make_evaluator(Identity(shift=0.1), [case], patch_size=(16, 16, 16))
    evaluator.run()
    difference = evaluator.state.output[keys.PREDICTION] - evaluator.state.output[keys.NCCT]
    assert np.allclose(difference, 100.0, atol=0.1)
    assert np.isfinite(evaluator.state.metrics[keys.VAL_LOSS])


def test_a_validation_changes_neither_weights_nor_gradients():
    network = tiny_cascade(norm="batch")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    make_evaluator(network, [make_case(1)]).run()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_ignored_voxels_count_neither_in_errors_nor_in_val_loss():
    case, masked = make_case(1), make_case(1)
    masked[keys.IGNORE] = masked[keys.VESSEL].clone()
    masked[keys.IGNORE][..., 6:8, :, :] = 0  # else no vessel would be left
    plain, ignoring = (make_evaluator(Identity(), [each]) for each in (case, masked))
    for evaluator in (plain, ignoring):
        evaluator.run()
    counted = (masked[keys.BODY] > 0) & (masked[keys.IGNORE] == 0)
    expected = mae(masked[keys.NCCT], masked[keys.CTA], counted)
    assert ignoring.state.metrics[keys.VAL_MAE_HU] == pytest.approx(expected, abs=0.01)
    assert ignoring.state.metrics[keys.VAL_LOSS] < plain.state.metrics[keys.VAL_LOSS]


def test_slabs_are_scored_each_by_itself_and_together():
    """Two slabs one after the other in one case's volumes: the losses and errors are those of both."""
    slabs = [make_case(1), make_case(2)]
    volumes = {key: torch.cat([slab[key] for slab in slabs], -1) for key in slabs[0] if key != keys.CASE}
    network = tiny_cascade()
    evaluator = make_evaluator(network, [{**volumes, keys.CASE: ["p1"], keys.SLAB_DEPTH: [SHAPE[2]]}])
    evaluator.run()
    each = []
    for slab in slabs:
        alone = make_evaluator(network, [slab])
        alone.run()
        each.append(dict(alone.state.metrics))
    for name in (keys.VAL_LOSS, keys.VAL_MAE_HU, keys.COARSE_LUNG_MAE_HU):
        assert evaluator.state.metrics[name] == pytest.approx(np.mean([found[name] for found in each]), rel=1e-5)
    assert evaluator.state.output[keys.PREDICTION].shape == (*SHAPE[:2], 2 * SHAPE[2])


class Reads(TorchDispatchMode):
    """Counts the numbers that are read from a device."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func._schema.name in ("aten::_local_scalar_dense", "aten::item")
        return func(*args, **(kwargs or {}))


def test_no_batch_waits_for_its_scores():
    """However many batches a case has, its losses and errors are read once."""
    counts = []
    for batch_size in (1, 5):
        evaluator = make_evaluator(tiny_cascade(), [make_case(1)], batch_size=batch_size)
        with Reads() as reads:
            evaluator.run()
        counts.append(reads.count)
    assert counts[0] == counts[1]
