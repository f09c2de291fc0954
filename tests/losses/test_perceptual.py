"""The perceptual loss: its formula, its gradient, what is read and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ncct_cta.common.errors import InputError
from ncct_cta.losses import perceptual
from ncct_cta.losses.perceptual import PerceptualLoss, read_features, write_features
from ncct_cta.networks.feature_encoder import FeatureEncoder, MaskHead, VGGFeatures

WINDOW = (-1000.0, 600.0)


class Halves(nn.Module):
    """Two levels of known features."""

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        return [torch.cat((image, torch.ones_like(image)), dim=1), torch.cat((image, -image), dim=1)]


def images(*sides: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.rand(1, 1, *sides, generator=generator) + 0.1 for _ in range(2))


def test_it_is_the_mean_difference_of_unit_features_over_the_levels() -> None:
    p, c = (image.double() for image in images(8, 8))
    first = (
        (p / (p**2 + 1).sqrt() - c / (c**2 + 1).sqrt()).abs() + (1 / (p**2 + 1).sqrt() - 1 / (c**2 + 1).sqrt()).abs()
    ) / 2
    # Positive grey values: the second level's unit features are the same whatever they are.
    assert float(PerceptualLoss(Halves())(p, c)) == pytest.approx(float(first.mean() / 2), abs=1e-6)


def test_the_gradient_reaches_the_prediction_and_no_weight() -> None:
    prediction, cta = images(16, 16)
    loss = PerceptualLoss(FeatureEncoder(2, (4, 8))).train()
    assert not loss.encoder.training
    loss(prediction.requires_grad_(), cta.requires_grad_()).backward()
    assert prediction.grad is not None
    assert prediction.grad.abs().sum() > 0
    assert cta.grad is None
    assert all(weight.grad is None for weight in loss.encoder.parameters())


def test_half_precision_is_computed_in_float32() -> None:
    prediction, cta = (image.bfloat16() for image in images(16, 16))
    loss = PerceptualLoss(FeatureEncoder(2, (4, 8)))
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(prediction, cta)
    assert found.dtype == torch.float32
    pairs = zip(loss.encoder(prediction.float()), loss.encoder(cta.float()), strict=True)
    levels = [(nn.functional.normalize(one) - nn.functional.normalize(other)).abs().mean() for one, other in pairs]
    assert float(found) == pytest.approx(float(sum(levels)) / 2, rel=1e-5)


def test_a_large_volume_is_compared_slab_by_slab(monkeypatch: pytest.MonkeyPatch) -> None:
    prediction, cta = images(8, 8, 40)
    encoder = FeatureEncoder(3, (4,))
    seen: list[int] = []
    encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[-1]))
    loss = PerceptualLoss(encoder)
    with torch.no_grad():
        whole = float(loss(prediction, cta))
        monkeypatch.setattr(perceptual, "MOST_VOXELS", 8 * 8 * 20)
        assert float(loss(prediction, cta)) == pytest.approx(whole, rel=0.05)
    assert seen == [40, 40, 20, 20, 20, 20]


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_an_encoder_and_its_head_take_any_grid(spatial_dims: int) -> None:
    sides = (21, 16, 19)[:spatial_dims]
    features = FeatureEncoder(spatial_dims, (4, 8, 8))(torch.rand(2, 1, *sides))
    assert [tuple(level.shape[2:]) for level in features] == [tuple(side // 2**n for side in sides) for n in range(3)]
    assert MaskHead(spatial_dims, (4, 8, 8), 3)(features).shape == (2, 3, *sides)


def test_what_is_written_is_read_and_draws_no_random_number(tmp_path) -> None:
    encoder = FeatureEncoder(2, (4, 8))
    write_features(tmp_path / "f.pt", encoder, (4, 8), WINDOW)
    before = torch.get_rng_state()
    again = read_features(str(tmp_path / "f.pt"), 2, WINDOW)
    assert torch.equal(torch.get_rng_state(), before)
    image = torch.rand(1, 1, 16, 16)
    assert all(torch.equal(one, other) for one, other in zip(encoder(image), again(image), strict=True))


@pytest.mark.parametrize(("spatial_dims", "window"), [(3, WINDOW), (2, (-160.0, 240.0))])
def test_features_of_other_images_are_refused(tmp_path, spatial_dims: int, window: tuple[float, float]) -> None:
    write_features(tmp_path / "f.pt", FeatureEncoder(2, (4,)), (4,), WINDOW)
    with pytest.raises(InputError, match=r"features of 2-D images in \[-1000.0, 600.0\], expected"):
        read_features(str(tmp_path / "f.pt"), spatial_dims, window)


def test_what_holds_no_features_is_refused_in_a_line(tmp_path) -> None:
    (tmp_path / "text.pt").write_text("no features")
    torch.save({"weights": {"a": torch.zeros(2)}}, tmp_path / "other.pt")
    for name in ("text.pt", "other.pt"):
        with pytest.raises(InputError, match="holds no features") as found:
            read_features(str(tmp_path / name), 2, WINDOW)
        assert "\n" not in str(found.value)
    with pytest.raises(InputError, match="there is no such file"):
        read_features(str(tmp_path / "gone.pt"), 2, WINDOW)


def test_a_vggs_weights_give_its_features_of_a_grey_image(tmp_path) -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(),
    )  # fmt: skip
    weights = {f"features.{name}": value for name, value in layers.state_dict().items()}
    torch.save({**weights, "classifier.0.weight": torch.zeros(2, 2)}, tmp_path / "vgg.pth")
    encoder = read_features(str(tmp_path / "vgg.pth"), 2, WINDOW)
    assert isinstance(encoder, VGGFeatures)
    image = torch.rand(1, 1, 16, 16)
    colours = torch.cat([((image + 1) / 2 - m) / s for m, s in ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))], dim=1)
    levels = encoder(image)
    torch.testing.assert_close(levels[0], layers[:4](colours))
    torch.testing.assert_close(levels[1], layers(colours))
    assert levels[1].sum() > 0
