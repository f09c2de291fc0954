"""One list for training, validation and inference: the YAML's, with a digest that tells it from any other."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from monai.bundle import ConfigParser
from monai.transforms import Compose, GaussianSmoothd, Lambdad, MapTransform, Orientationd, Spacingd

from ncct_cta.common.errors import InputError
from ncct_cta.common.keys import CASE, CTA, LUNG, NCCT
from ncct_cta.settings import DataConfig
from ncct_cta.settings.places import bundle_config
from ncct_cta.transforms import (
    LoadCTd,
    LungMaskd,
    default_preprocessing,
    preprocess,
    preprocess_ncct,
    preprocessing_digest,
)
from ncct_cta.volumes.nifti import read_ct

SPACINGS = [None, (2.0, 2.0, 5.0)]
FINE = DataConfig(spacing=(1.0, 1.0, 1.0))


class Added(MapTransform):
    """A user's own transform."""

    def __init__(self, keys, amount) -> None:
        super().__init__(keys)
        self.amount = amount

    def __call__(self, data):
        return {**data, **{key: data[key] + self.amount for key in self.key_iterator(data)}}


def digest(*steps) -> str:
    return preprocessing_digest(Compose(steps))


@pytest.mark.parametrize("spacing", SPACINGS, ids=["own spacing", "resampled"])
def test_the_bundles_list_is_the_default(spacing):
    parser = ConfigParser()
    parser.read_config(bundle_config("train.yaml"))
    parser.update({"data::spacing": spacing})
    steps = parser.get_parsed_content("preprocessing")
    assert digest(*steps) == preprocessing_digest(default_preprocessing(DataConfig(spacing=spacing)))


def test_another_process_finds_the_same_digest():
    program = (
        "from ncct_cta.settings import DataConfig; from ncct_cta.transforms import *;"
        "print(preprocessing_digest(default_preprocessing(DataConfig(spacing=(1.0, 1.0, 1.0)))))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "1234"},
    )
    assert found.stdout.strip() == preprocessing_digest(default_preprocessing(FINE))


def test_the_digest_stays_when_the_list_has_worked(cohort):
    preprocessing = default_preprocessing(FINE)
    before = preprocessing_digest(preprocessing)
    ncct = next(cohort.glob("*_ncct.nii.gz"))
    for step in preprocessing.transforms[:1]:
        image = step({NCCT: ncct})
    preprocessing.transforms[1](image)
    assert preprocessing_digest(preprocessing) == before


@pytest.mark.parametrize(
    "other",
    [
        (),
        (Spacingd(NCCT, (1.0, 1.0, 2.0)),),
        (Spacingd(NCCT, (1.0, 1.0, 1.0), mode="nearest"),),
        (Spacingd((NCCT, CTA), (1.0, 1.0, 1.0)),),
        (Spacingd(NCCT, (1.0, 1.0, 1.0), allow_missing_keys=True),),
        (Spacingd(NCCT, (1.0, 1.0, 1.0)), Orientationd(NCCT, "RAS", labels=None)),
        (Orientationd(NCCT, "RAS", labels=None), Spacingd(NCCT, (1.0, 1.0, 1.0))),
    ],
    ids=["none", "number", "mode", "keys", "flag", "one more", "before"],
)
def test_another_list_has_another_digest(other):
    assert digest(*other) != digest(Spacingd(NCCT, (1.0, 1.0, 1.0)))


def test_the_order_matters():
    steps = (Spacingd(NCCT, (1.0, 1.0, 1.0)), Orientationd(NCCT, "RAS", labels=None))
    assert digest(*steps) != digest(*reversed(steps))


def test_values_that_a_transform_holds_matter():
    amounts = [1, 2, 1.5, "a", [1, 2], [2, 1], np.array([1, 2]), np.array([1.0, 2]), {"a": 1}, {"a": 2}, None]
    assert len({digest(Added(NCCT, amount)) for amount in amounts}) == len(amounts)
    assert digest(Added(NCCT, {"a": 1, "b": 2})) == digest(Added(NCCT, {"b": 2, "a": 1}))


def test_functions_are_told_apart_by_what_they_do():
    def adding(amount):
        return lambda image: image + amount

    lambdas = [lambda x: x + 1, lambda x: x + 2, lambda x: x * 1, adding(1), adding(2), abs, np.abs]
    assert len({digest(Lambdad(NCCT, function)) for function in lambdas}) == len(lambdas)
    assert digest(Lambdad(NCCT, adding(1))) == digest(Lambdad(NCCT, adding(1)))


def test_an_edited_class_of_the_users_own_is_another_one(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    found = set()
    for text in ("return data", "return dict(data)"):
        (tmp_path / "my_steps.py").write_text(f"class Mine:\n    def __call__(self, data):\n        {text}\n")
        sys.modules.pop("my_steps", None)
        module = __import__("my_steps")
        found.add(digest(module.Mine()))
    assert len(found) == 2


def test_what_cant_be_told_from_another_is_refused():
    with pytest.raises(InputError, match=r"Added\.amount is a generator, which can't be told from another"):
        digest(Added(NCCT, (n for n in range(3))))
    circle: list = []
    circle.append(circle)
    with pytest.raises(InputError, match=r"Added\.amount is nested too deeply"):
        digest(Added(NCCT, circle))


def test_inference_needs_no_masks(cohort):
    volume = read_ct(next(cohort.glob("*_ncct.nii.gz")))
    hu = volume.array.copy()
    hu[hu < -400] = -300  # no lungs are left
    image = preprocess_ncct(default_preprocessing(DataConfig()), type(volume)(hu, volume.header, volume.path, hu.shape))
    assert image.shape == (1, 48, 48, 24)
    assert np.array_equal(np.sort(image.numpy(), axis=None), np.sort(hu, axis=None))


def test_inference_keeps_a_mask_that_a_later_step_uses(cohort):
    class InLungs(MapTransform):
        def __call__(self, data):
            return {**data, NCCT: data[NCCT] * data[LUNG]}

    volume = read_ct(next(cohort.glob("*_ncct.nii.gz")))
    steps = [LoadCTd(NCCT), Orientationd(NCCT, "RAS", labels=None), LungMaskd(), InLungs(NCCT)]
    image = preprocess_ncct(Compose(steps), volume)
    assert 0 < np.count_nonzero(image) < image.numel() / 2


def test_inference_gives_the_networks_grid(cohort):
    volume = read_ct(next(cohort.glob("*_ncct.nii.gz")))
    image = preprocess_ncct(default_preprocessing(DataConfig(spacing=(14.0, 14.0, 10.5))), volume)
    assert np.allclose(image.affine[:3, :3], np.diag([14.0, 14.0, 10.5]))


def test_bad_input_within_a_list_stays_what_it_says(tmp_path):
    with pytest.raises(InputError, match=r"gone\.nii\.gz: there is no such file"):
        preprocess(default_preprocessing(DataConfig()), {NCCT: tmp_path / "gone.nii.gz", CASE: "p"})


def test_a_step_of_the_users_own_that_fails_is_named(cohort):
    case = {NCCT: next(cohort.glob("*_ncct.nii.gz")), CASE: "p9"}
    with pytest.raises(InputError, match=r"^case p9: the preprocessing's step Added fails \(TypeError: .*\); correct"):
        preprocess(Compose([LoadCTd(NCCT), Added(NCCT, "no number")]), case)


def test_a_list_that_has_worked_can_be_sent_to_a_worker(cohort):
    preprocessing = Compose([LoadCTd(NCCT), GaussianSmoothd(NCCT, sigma=1.0), Orientationd(NCCT, "RAS", labels=None)])
    preprocess(preprocessing, {NCCT: next(Path(cohort).glob("*_ncct.nii.gz"))})
    assert preprocessing_digest(pickle.loads(pickle.dumps(preprocessing))) == preprocessing_digest(preprocessing)
