"""A picture of every validation."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from ncct_cta.common import keys
from ncct_cta.handlers import PreviewHandler


def engine(iteration: int = 1, epoch: int = 7) -> SimpleNamespace:
    random = np.random.default_rng(0)
    names = (keys.NCCT, keys.CTA, keys.COARSE, keys.INTERMEDIATE, keys.PREDICTION)
    output = {name: random.integers(-1000, 400, (20, 24, 6)) for name in names}
    vessel = np.zeros((20, 24, 6), np.uint8)
    vessel[4:9, 4:9, 3] = 1
    output |= {keys.VESSEL: vessel, keys.CASE: "p1"}
    return SimpleNamespace(state=SimpleNamespace(iteration=iteration, epoch=epoch, output=output))


def size(path) -> tuple[int, int]:
    with Image.open(path) as picture:
        picture.load()
        return picture.size


def test_the_first_case_of_a_validation_is_drawn(tmp_path):
    PreviewHandler(tmp_path)(engine())
    assert [path.name for path in (tmp_path / "previews").iterdir()] == ["epoch0007.png"]
    assert min(size(tmp_path / "previews" / "epoch0007.png")) > 200


def test_the_other_cases_are_not(tmp_path):
    PreviewHandler(tmp_path)(engine(iteration=2))
    assert list(tmp_path.iterdir()) == []


def test_with_g2_its_input_is_drawn_too(tmp_path):
    PreviewHandler(tmp_path / "g")(engine())
    PreviewHandler(tmp_path / "g2", refine=True)(engine())
    widths = [size(tmp_path / run / "previews" / "epoch0007.png")[0] for run in ("g", "g2")]
    assert widths[1] > widths[0] + 200


def test_a_running_tensorboard_shows_the_pictures_and_still_the_scalars(tmp_path):
    scalars, draw = SummaryWriter(str(tmp_path / "tensorboard")), PreviewHandler(tmp_path)
    watching = EventAccumulator(str(tmp_path / "tensorboard"))
    for epoch in (1, 2):
        draw(engine(epoch=epoch))
        scalars.add_scalar(keys.LOSS, 0.5, epoch)
        scalars.flush()
        watching.Reload()
    scalars.close()
    pictures = EventAccumulator(str(tmp_path / "tensorboard" / "previews"))
    pictures.Reload()
    assert [event.step for event in watching.Scalars(keys.LOSS)] == [1, 2]
    (tag,) = pictures.Tags()["images"]
    shown = pictures.Images(tag)
    assert [picture.step for picture in shown] == [1, 2]
    assert min(shown[0].width, shown[0].height) > 200
