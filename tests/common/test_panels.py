from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from ncct_cta.common.panels import axial, panel_figure, richest_slice, save_figure

SHAPE = (8, 6, 4)
EMPTY = np.zeros((6, 8), np.int16)


def test_the_richest_slice_holds_most_of_the_mask() -> None:
    mask = np.zeros(SHAPE, bool)
    mask[0, 0, 1] = True
    mask[:3, 0, 3] = True
    assert richest_slice(mask) == 3


def test_an_empty_mask_gives_the_middle_slice() -> None:
    assert richest_slice(np.zeros(SHAPE, bool)) == 2


@pytest.mark.parametrize(
    ("voxel", "pixel"),
    [
        ((7, 5), (0, 0)),  # right, front -> top left
        ((0, 5), (0, 7)),  # left, front -> top right
        ((7, 0), (5, 0)),  # right, back -> bottom left
    ],
)
def test_a_picture_shows_the_patients_right_on_the_left_and_the_front_on_top(
    voxel: tuple[int, int], pixel: tuple[int, int]
) -> None:
    volume = np.zeros(SHAPE, np.int16)  # RAS+: X grows to the patient's right, Y to the front
    volume[(*voxel, 2)] = 9
    picture = axial(volume, 2)
    assert picture.shape == (6, 8)
    assert picture[pixel] == 9
    assert not axial(volume, 1).any()


def test_a_panel_shows_images_and_errors_in_both_windows() -> None:
    ncct, prediction, cta = (np.full((6, 8), hu, np.int16) for hu in (0, 250, 300))
    figure = panel_figure({"NCCT": ncct, "Prediction": prediction}, cta, title="case 1")
    panels = [axis for axis in figure.axes if axis.images and axis.get_title()]
    captions = [axis.get_title() for axis in panels]
    assert captions[:4] == ["NCCT", "Prediction", "CTA", "Prediction - CTA"]
    assert captions[4:] == ["NCCT", "Prediction", "CTA", "NCCT - CTA"]
    limits = [axis.images[0].get_clim() for axis in panels]
    assert limits[:3] == [(-160, 240)] * 3
    assert limits[4:7] == [(-1350, 150)] * 3
    assert (panels[3].images[0].get_array() == -50).all()
    assert (panels[7].images[0].get_array() == -300).all()


def test_errors_beyond_int16_do_not_wrap_around() -> None:
    low, high = np.full((2, 2), -32768, np.int16), np.full((2, 2), 32767, np.int16)
    figure = panel_figure({"NCCT": low, "Prediction": low}, high, title="")
    assert all(
        (axis.images[0].get_array() == -65535).all() for axis in figure.axes if axis.get_title().endswith("- CTA")
    )


def test_a_name_with_dollar_signs_is_no_formula(tmp_path: Path) -> None:
    figure = panel_figure({"NCCT": EMPTY, "a$^$b": EMPTY}, EMPTY, title="case $^$")
    save_figure(figure, tmp_path / "a.png")
    assert (tmp_path / "a.png").is_file()


def test_a_figure_is_written_whole(tmp_path: Path) -> None:
    figure = panel_figure({"NCCT": EMPTY, "Prediction": EMPTY}, EMPTY, title="case 1")
    save_figure(figure, tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert imread(tmp_path / "a.png").ndim == 3
