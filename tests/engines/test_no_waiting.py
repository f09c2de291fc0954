"""A training step never asks the device for a number between two logs, and still stops before weights are ruined."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from ignite.engine import Events
from tiny_engine import CPU, same_weights, tiny_batch, tiny_cascade, weights_of
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader

from ncct_cta.common import keys
from ncct_cta.common.errors import InputError
from ncct_cta.engines import AdversarialSynthesisTrainer, Adversary, NetworkUpdate, SynthesisTrainer
from ncct_cta.engines.updates import CHECK_EVERY
from ncct_cta.handlers import (
    AveragedNetwork,
    DiagnosticsHandler,
    DiscriminatorHealthHandler,
    EMAHandler,
    ProgressBarHandler,
)
from ncct_cta.losses import AdversarialLoss, AlignedReconstruction
from ncct_cta.losses.reconstruction import ReconstructionLoss
from ncct_cta.metrics.term_mean import TermMean
from ncct_cta.networks import RegistrationNet, SynthesisCascade
from ncct_cta.networks.discriminator import MultiScaleDiscriminator
from ncct_cta.transforms import RandMovement

WAITING = {"aten::_local_scalar_dense", "aten::item", "aten::is_nonzero", "aten::nonzero", "aten::equal"}
LONGEST = 2 * CHECK_EVERY


class Waits(TorchDispatchMode):
    """Counts by step what would make a GPU's host wait: numbers read, and copies from device to device."""

    def __init__(self) -> None:
        super().__init__()
        self.step = 0
        self.counts: Counter[int] = Counter()
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        moved = name == "aten::_to_copy" and (kwargs or {}).get("device", args[0].device) != args[0].device
        # How many voxels a mask picks isn't known before it is read.
        picked = name == "aten::index" and any(index is not None and index.dtype == torch.bool for index in args[1])
        if name in WAITING or moved or picked:
            self.counts[self.step] += 1
            self.seen.add(name)
        return func(*args, **(kwargs or {}))


def fused_update(nets: dict[str, nn.Module | None]) -> NetworkUpdate:
    """An update as on a GPU."""
    groups = [
        {"name": name, "params": [p for p in net.parameters() if p.requires_grad]}
        for name, net in nets.items()
        if net is not None
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, fused=True)
    return NetworkUpdate(optimizer, LambdaLR(optimizer, lambda step: 1.0), grad_clip=1.0)


def trainer_of(
    network: SynthesisCascade, batches: Sequence[Any], *, with_d: bool = False, with_r: bool = False, epochs: int = 1
) -> Any:
    average = AveragedNetwork(network, 0.9)
    registration = RegistrationNet(2) if with_r else None
    common: dict[str, Any] = {
        "device": CPU,
        "max_epochs": epochs,
        "train_data_loader": DataLoader(batches, batch_size=None),
        "network": network,
        "objective": AlignedReconstruction(ReconstructionLoss(), registration),
        "update": fused_update({"net": network, "R": registration}),
        "train_handlers": [
            EMAHandler(average),
            DiagnosticsHandler(refine=network.refine_net is not None),
            DiscriminatorHealthHandler(),
            ProgressBarHandler(CHECK_EVERY),
        ],
    }
    if not with_d:
        return SynthesisTrainer(**common)
    judge = MultiScaleDiscriminator(spatial_dims=2, hidden_dim=4, num_layers=1, num_scales=1)
    adversary = Adversary(judge, fused_update({"D": judge}), AdversarialLoss())
    return AdversarialSynthesisTrainer(adversary=adversary, **common)


def to_be_moved(batch: dict[str, Any], seed: int) -> dict[str, Any]:
    """A batch as the loader gives it, of boxes that are 8 voxels larger than the patches; its second sample moves."""
    draw = RandMovement(prob=1.0).set_random_state(seed)
    movements = torch.stack([torch.eye(2, 3), draw({})[keys.MOVEMENT]])
    return {**batch, keys.MOVEMENT: movements, keys.MARGIN: torch.full((2, 2), 8)}


@pytest.mark.parametrize(("refine", "with_r", "with_d"), [
    (False, False, False), (True, False, False), (False, True, False), (True, True, True),
])  # fmt: skip
def test_nothing_is_read_from_the_device_between_two_logs(refine: bool, with_r: bool, with_d: bool) -> None:
    batches = [to_be_moved(tiny_batch(seed, size=48), seed) for seed in range(LONGEST)]
    trainer = trainer_of(tiny_cascade(refine=refine), batches, with_r=with_r, with_d=with_d)
    for name in (*keys.TRAINING_TERMS,):
        TermMean(name).attach(trainer, name)
    waits = Waits()

    def next_step(engine: Any) -> None:
        waits.step = engine.state.iteration + 1

    trainer.add_event_handler(Events.GET_BATCH_STARTED, next_step)
    with waits:
        trainer.run()
    between = {step: count for step, count in waits.counts.items() if 1 <= step <= LONGEST and step % CHECK_EVERY}
    assert between == {}, waits.seen
    assert waits.counts[CHECK_EVERY] > 0  # it does count


@pytest.mark.parametrize("bad_step", [3, LONGEST - 1, LONGEST])
def test_a_loss_that_is_not_finite_changes_no_weight_though_it_is_read_later(bad_step: int) -> None:
    batches = [tiny_batch(seed) for seed in range(LONGEST)]
    batches[bad_step - 1][keys.CTA][0, 0, 3, 3] = float("nan")
    network, after = tiny_cascade(), []
    trainer = trainer_of(network, batches)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: after.append(weights_of(network)))
    with pytest.raises(InputError, match=rf"loss is nan at iteration {bad_step} \(cases case{bad_step - 1}-0"):
        trainer.run()
    assert not same_weights(after[bad_step - 3], after[bad_step - 2])
    assert same_weights(after[bad_step - 2], weights_of(network))


def test_a_gradient_that_is_not_finite_changes_no_weight_and_is_found_at_the_epochs_end() -> None:
    network = tiny_cascade()
    trainer = trainer_of(network, [tiny_batch(seed) for seed in range(5)])
    weight = next(network.parameters())
    calls: list[dict[str, torch.Tensor]] = []

    def spoil(gradient: torch.Tensor) -> torch.Tensor:
        calls.append(weights_of(network))
        return gradient * (float("inf") if len(calls) == 2 else 1)

    weight.register_hook(spoil)
    saved = []
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: saved.append(1))
    with pytest.raises(InputError, match=r"a gradient isn't finite \(gnorm_net (nan|inf)\)"):
        trainer.run()
    assert len(calls) == 5
    assert same_weights(calls[1], weights_of(network))
    assert not same_weights(calls[0], calls[1])
    assert not saved  # no checkpoint was due before


def test_a_fused_optimiser_takes_the_steps_of_the_usual_one() -> None:
    after = []
    for fused in (None, True):
        torch.manual_seed(0)
        network = nn.Linear(6, 3)
        optimizer = torch.optim.AdamW([{"params": list(network.parameters()), "name": "G"}], lr=1e-2, fused=fused)
        update = NetworkUpdate(optimizer, LambdaLR(optimizer, lambda step: 1.0))
        for seed in range(4):
            update(network(torch.rand(8, 6, generator=torch.Generator().manual_seed(seed))).square().mean())
        update.check()
        after.append(weights_of(network))
    assert all(torch.allclose(after[0][name], after[1][name], atol=1e-6) for name in after[0])


def test_without_an_adversary_r_warps_for_the_loss_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    warped: list[torch.Tensor] = []

    def counted(image: torch.Tensor, displacement: torch.Tensor) -> torch.Tensor:
        warped.append(image)
        return image + 0 * displacement[:, :1]

    monkeypatch.setattr("ncct_cta.losses.aligned.warp", counted)
    trainer_of(tiny_cascade(), [tiny_batch(size=32)], with_r=True).run()
    assert len(warped) == 2  # the prediction and the lung's mask
    warped.clear()
    trainer_of(tiny_cascade(), [tiny_batch(size=32)], with_r=True, with_d=True).run()
    assert len(warped) == 4
