"""Training patches are a pure function of (seed, epoch, position), on the volume's own axes."""

from __future__ import annotations

import hashlib
import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.transforms import MapTransform, RandAffined, RandomizableTransform
from torch.utils.data import default_collate

from ncct_cta.common.errors import InputError
from ncct_cta.common.hu import HUWindow
from ncct_cta.common.keys import BODY, CASE, CTA, IGNORE, LUNG, MARGIN, MOVEMENT, NCCT, SLAB_DEPTH, VESSEL
from ncct_cta.common.slices import evenly_spaced
from ncct_cta.data import EpochSampler, PairedCases, PatchDataset, VolumeDataset
from ncct_cta.data.paired_cases import CACHE_FOLDER, TRAINING, VALIDATION
from ncct_cta.data.stored_case import StoredCase
from ncct_cta.infer.input_cases import InputCases
from ncct_cta.settings import DataConfig
from ncct_cta.train.builders import build_loader
from ncct_cta.transforms import RandMovement, ScaleHUWindowd, moved_patches
from ncct_cta.volumes.nifti import read_ct

WINDOW = HUWindow(-1000.0, 1000.0)
# Every voxel of a small volume gets an int16 of its own; this window keeps them all apart.
WHOLE_INT16 = HUWindow(-32768.0, 32767.0)
IMAGES = (NCCT, CTA, LUNG)


class OneCase:
    """Stands in for ``PairedCases``: a case whose NCCT numbers its voxels, and whose CTA is 100 HU above."""

    shape = (40, 36, 20)

    def __init__(self) -> None:
        count = int(np.prod(self.shape))
        self.volume = (np.arange(count) - count // 2).reshape(self.shape).astype(np.int16)
        lung = np.zeros(self.shape, np.uint8)
        lung[10:30, 8:28, 4:16] = 1
        images = {NCCT: self.volume, CTA: self.volume + np.int16(100), LUNG: lung}
        images = {key: np.ascontiguousarray(np.moveaxis(image, -1, 0)) for key, image in images.items()}
        self.case = StoredCase("numbered", images, np.eye(4), self.shape)

    def opened(self, split: str) -> list[StoredCase]:
        return [self.case]


@pytest.fixture(scope="module")
def cases(cohort: Path) -> PairedCases:
    return PairedCases(str(cohort))


def make_patches(cases, *, window=WINDOW, patch_size=(32, 32), augment=True, seed=0) -> PatchDataset:
    scale = ScaleHUWindowd((NCCT, CTA), window)
    move = RandMovement(len(patch_size))
    return PatchDataset(cases, transforms=[scale, move] if augment else [scale], patch_size=patch_size, seed=seed)


def equal(one, other) -> bool:
    return one[CASE] == other[CASE] and all(torch.equal(one[key], other[key]) for key in (*IMAGES, MOVEMENT))


def trained_on(dataset: PatchDataset, position: int) -> dict:
    """A sample as a training sees it, moved."""
    batch = default_collate([dataset[1, position]])
    patches = moved_patches(batch, batch[MOVEMENT], batch[MARGIN][0].tolist())
    return {key: value[0] for key, value in patches.items()}


def test_a_sample_depends_on_seed_epoch_and_position_alone(cases):
    keys = [(epoch, position) for epoch in (1, 2) for position in range(4)]
    forward = {key: make_patches(cases)[key] for key in keys}
    dataset = make_patches(cases)
    np.random.seed(99)  # global generators play no part
    torch.manual_seed(99)
    backward = {key: dataset[key] for key in reversed(keys)}
    assert all(equal(forward[key], backward[key]) for key in keys)
    reference = forward[1, 2]
    assert not equal(reference, forward[2, 2])
    assert not equal(reference, forward[1, 3])
    assert not equal(reference, make_patches(cases, seed=1)[1, 2])


@pytest.mark.parametrize("num_workers", [1, 2])
def test_workers_do_not_change_the_samples(cases, num_workers):
    def batches(num_workers):
        dataset = make_patches(cases)
        sampler = EpochSampler(dataset, 6)
        made = build_loader(dataset, torch.device("cpu"), batch_size=3, sampler=sampler, num_workers=num_workers)
        drawn = []
        for epoch in (1, 2):  # workers stay between epochs
            sampler.set_epoch(epoch)
            drawn += list(made)
        return drawn

    alone, helped = batches(0), batches(num_workers)
    assert len(alone) == len(helped) == 4
    assert all(equal(one, other) for one, other in zip(alone, helped, strict=True))


@pytest.mark.parametrize(("samples", "ranks"), [(12, 3), (13, 4), (3, 4), (5, 1)])
def test_ranks_share_an_epoch_without_overlap(samples, ranks):
    samplers = [EpochSampler(range(100), samples, ranks, rank) for rank in range(ranks)]
    for sampler in samplers:
        sampler.set_epoch(7)
    drawn = [list(sampler) for sampler in samplers]
    assert sorted(key for keys in drawn for key in keys) == [(7, position) for position in range(samples)]
    assert [len(keys) for keys in drawn] == [len(sampler) for sampler in samplers]


def in_hu(normalised: torch.Tensor) -> torch.Tensor:
    """The HU that ``WHOLE_INT16`` made these of."""
    return (normalised.double() + 1) * WHOLE_INT16.half_width + WHOLE_INT16.lower


@pytest.mark.parametrize("patch_size", [(24, 16), (24, 16, 12)], ids=["2-D", "3-D"])
def test_a_patch_keeps_the_axes_of_the_volume(patch_size):
    source = OneCase()
    dataset = make_patches(source, window=WHOLE_INT16, patch_size=patch_size, augment=False)
    corners = set()
    for position in range(20):
        sample = dataset[1, position]
        patch = np.rint(in_hu(sample[NCCT][0]).numpy()).astype(int)
        corner = np.unravel_index(int(patch.flat[0]) + source.volume.size // 2, source.shape)
        part = tuple(slice(start, start + size) for start, size in zip(corner, patch_size, strict=False))
        expected = source.volume[part] if len(patch_size) == 3 else source.volume[(*part, corner[2])]
        assert sample[NCCT].shape == (1, *patch_size)
        assert np.array_equal(patch, expected)
        corners.add(tuple(int(value) for value in corner))
    # Position by position every axis is drawn anew.
    assert all(len({corner[axis] for corner in corners}) > 3 for axis in range(3))


def test_every_slice_and_every_corner_can_be_drawn():
    source = OneCase()
    dataset = make_patches(source, window=WHOLE_INT16, patch_size=(39, 36), augment=False)
    firsts = [in_hu(dataset[0, position][NCCT][0, 0, 0]) for position in range(300)]
    corners = [np.unravel_index(round(float(first)) + source.volume.size // 2, source.shape) for first in firsts]
    assert {int(corner[0]) for corner in corners} == {0, 1}
    assert {int(corner[2]) for corner in corners} == set(range(20))


@pytest.mark.parametrize("patch_size", [(32, 32), (32, 32, 16)], ids=["2-D", "3-D"])
def test_augmentation_moves_ncct_cta_and_lung_together(patch_size):
    source = OneCase()
    plain = make_patches(source, window=WHOLE_INT16, patch_size=patch_size, augment=False)
    augmented = make_patches(source, window=WHOLE_INT16, patch_size=patch_size)
    moved = 0
    for position in range(16):
        sample = trained_on(augmented, position)
        moved += not torch.equal(sample[NCCT], plain[1, position][NCCT])
        difference = WHOLE_INT16.half_width * (sample[CTA] - sample[NCCT])
        assert torch.allclose(difference, torch.tensor(100.0), atol=0.1)
        assert set(sample[LUNG].unique().tolist()) <= {0.0, 1.0}
        assert all(sample[key].shape == (1, *patch_size) and sample[key].dtype == torch.float32 for key in IMAGES)
    assert 2 < moved < 16  # half of the samples stay as they are


@pytest.mark.parametrize(
    ("patch_size", "digest"), [((24, 16), "1023bf12fa29b119"), ((24, 16, 12), "07caf0dae0a07e22")], ids=["2-D", "3-D"]
)
def test_the_same_seed_draws_the_same_voxels_as_ever(patch_size, digest):
    # Not augmented: what interpolation gives in the last bit is the libraries' affair.
    dataset = make_patches(OneCase(), patch_size=patch_size, augment=False, seed=3)
    drawn = hashlib.blake2b(digest_size=8)
    for position in range(12):
        sample = dataset[1, position]
        for key in IMAGES:
            drawn.update(sample[key].contiguous().numpy().tobytes())
    assert drawn.hexdigest() == digest


def test_samples_are_plain_tensors_scaled_to_the_networks_range(cases):
    sample = make_patches(cases)[1, 0]
    # MONAI's MetaTensor would drag its history through every operation of the network.
    assert all(type(sample[key]) is torch.Tensor for key in IMAGES)
    for key in (NCCT, CTA):
        assert sample[key].min() >= -1
        assert sample[key].max() <= 1
    assert sample[NCCT].std() > 0.05


def test_validation_volumes_are_the_files_in_ras_and_hu(cohort, cases):
    (volumes,) = VolumeDataset(cases)
    entry = json.loads((cohort / "datalist.json").read_text())[VALIDATION][0]
    assert volumes[CASE] == entry["case"]
    for key in (NCCT, CTA):
        volume = read_ct(cohort / entry[key])
        signs = np.sign(np.diag(volume.affine)[:3]).astype(int)
        assert np.array_equal(volumes[key][0].numpy(), np.rint(volume.array[:: signs[0], :: signs[1], :: signs[2]]))
        assert volumes[key].dtype == torch.int16
    for key in (LUNG, VESSEL, BODY):
        assert volumes[key].dtype == torch.uint8
        assert set(volumes[key].unique().tolist()) == {0, 1}


def test_ranks_share_the_validation_cases(cases):
    class Several:
        def opened(self, split):
            return cases.opened(TRAINING) + cases.opened(VALIDATION)

    names = [[volumes[CASE] for volumes in VolumeDataset(Several(), 2, rank)] for rank in (0, 1)]
    assert len(names[0]) == 2
    assert len(names[1]) == 1
    assert not set(names[0]) & set(names[1])


@pytest.mark.parametrize(
    ("depth", "wanted", "thickness", "expected"),
    [
        (100, 16, 8, [(21, 29), (71, 79)]),
        (100, 20, 8, [(13, 21), (46, 54), (79, 87)]),
        (100, 4, 32, [(34, 66)]),
        (20, 20, 8, [(0, 20)]),
        (12, 8, 16, [(0, 12)]),
    ],
)
def test_slabs_are_evenly_spaced_or_all_there_is(depth, wanted, thickness, expected):
    assert [(slab.start, slab.stop) for slab in evenly_spaced(depth, wanted, thickness)] == expected


def test_a_case_is_given_in_slabs_where_not_all_of_it_is_wanted(cases):
    dataset = VolumeDataset(cases, val_slices=10, patch_size=(32, 32, 5))
    (whole,) = dataset
    dataset.whole = False
    (part,) = dataset
    assert part[SLAB_DEPTH] == 5
    assert whole[SLAB_DEPTH] == whole[NCCT].shape[-1] == 24
    for key in (NCCT, CTA, LUNG, VESSEL, BODY):
        expected = torch.cat([whole[key][..., 4:9], whole[key][..., 16:21]], -1)
        assert torch.equal(part[key], expected)


def test_a_volume_reaches_the_network_slice_by_slice_in_memory(cases):
    (batch,) = build_loader(VolumeDataset(cases), torch.device("cpu"))
    assert batch[NCCT].shape == (1, 1, 48, 48, 24)
    assert batch[NCCT].permute(0, 1, 4, 2, 3).is_contiguous()


def test_nothing_is_opened_before_it_is_needed(tmp_path):
    missing = PairedCases(str(tmp_path / "missing.json"))
    dataset = make_patches(missing)
    VolumeDataset(missing)
    with pytest.raises(InputError, match=r"missing\.json"):
        dataset.prepare()


def test_an_empty_split_is_named(cohort, tmp_path):
    entries = json.loads((cohort / "datalist.json").read_text())
    training = [{key: str(cohort / value) if key != CASE else value for key, value in entries[TRAINING][0].items()}]
    (tmp_path / "datalist.json").write_text(json.dumps({TRAINING: training}))
    cases = PairedCases(str(tmp_path / "datalist.json"), cache_dir=str(cohort / CACHE_FOLDER))
    with pytest.raises(InputError, match="no validation cases"):
        cases.opened(VALIDATION)


def test_nccts_without_ctas_are_named(cohort, tmp_path):
    for number in range(5):
        (tmp_path / f"p{number}_ncct.nii.gz").touch()
    with pytest.raises(InputError, match=r"its 5 NCCTs \(p0, p1, p2, \.\.\.\) have no CTA, and training needs pairs"):
        PairedCases(str(tmp_path)).opened(TRAINING)


def test_one_pair_of_a_folder_is_not_enough(tmp_path):
    for kind in ("ncct", "cta"):
        (tmp_path / f"p_{kind}.nii.gz").touch()
    with pytest.raises(InputError, match=r"of its 1 pairs none is left for validation \(data\.val_fraction is 0\.15\)"):
        PairedCases(str(tmp_path)).opened(VALIDATION)


def test_a_case_list_that_was_not_given_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"^data\.datalist isn't given, and its default phantom isn't there"):
        PairedCases(DataConfig().datalist).opened(TRAINING)
    with pytest.raises(InputError, match=r"^mine: there is no such file or folder"):
        PairedCases("mine").opened(TRAINING)


def test_the_store_lies_beside_the_data_or_where_it_is_wanted(cohort, tmp_path):
    assert PairedCases(str(cohort)).store.folder == cohort / CACHE_FOLDER
    assert PairedCases(str(cohort / "datalist.json")).store.folder == cohort / CACHE_FOLDER
    assert PairedCases(str(cohort), cache_dir=str(tmp_path / "c")).store.folder == tmp_path / "c"


@pytest.mark.parametrize("patch_size", [(64, 32), (48, 48, 32)], ids=["2-D", "3-D"])
def test_a_volume_smaller_than_the_patch_is_padded_with_its_edges(patch_size):
    source = OneCase()
    dataset = make_patches(source, window=WHOLE_INT16, patch_size=patch_size, augment=False)
    for position in range(6):
        sample = dataset[1, position]
        patch = np.rint(in_hu(sample[NCCT][0]).numpy()).astype(int)
        assert patch.shape == patch_size
        inside, padding = [], []
        for size, wanted in zip(source.shape, patch_size, strict=False):
            less = max(0, wanted - size)
            padding.append((less // 2, less - less // 2))
            inside.append(slice(less // 2, less // 2 + min(size, wanted)))
        part = patch[tuple(inside)]
        corner = np.unravel_index(int(part.flat[0]) + source.volume.size // 2, source.shape)
        where = tuple(slice(start, start + n) for start, n in zip(corner, part.shape, strict=False))
        expected = source.volume[where] if len(patch_size) == 3 else source.volume[(*where, corner[2])]
        assert np.array_equal(patch, np.pad(expected, padding, mode="edge"))
        assert sample[LUNG].shape == (1, *patch_size)
        assert torch.allclose(WHOLE_INT16.half_width * (sample[CTA] - sample[NCCT]), torch.tensor(100.0), atol=0.1)


def test_a_worker_that_starts_afresh_is_sent_no_voxels(cases):
    """As spawn and forkserver start them, on macOS and Windows and since Python 3.14."""
    dataset = make_patches(cases)
    dataset.prepare()
    sent = pickle.dumps(dataset)
    assert len(sent) < 50_000  # random states; one image of a case would be more
    assert equal(pickle.loads(sent)[1, 3], dataset[1, 3])
    pickle.dumps(dataset)  # also when it has been drawn from


class Brightened(MapTransform):
    """A user's own transform."""

    def __init__(self, keys, by: int) -> None:
        super().__init__(keys)
        self.by = by

    def __call__(self, data):
        return {**data, **{key: data[key] + self.by for key in self.keys}}


def test_a_transform_of_the_users_own_shapes_the_stored_volumes(cohort, tmp_path, cases):
    def brightened(by: int) -> PairedCases:
        steps = [*cases.preprocessing.transforms, Brightened([CTA], by)]
        return PairedCases(str(cohort), preprocessing=steps, cache_dir=str(tmp_path))

    (plain,), (ours,) = cases.opened(VALIDATION), brightened(7).opened(VALIDATION)
    assert np.array_equal(ours.images[CTA], plain.images[CTA] + 7)
    assert np.array_equal(ours.images[NCCT], plain.images[NCCT])
    brightened(7).opened(VALIDATION)
    assert len(list(tmp_path.glob("phantom*"))) == 1
    brightened(8).opened(VALIDATION)  # another list is another entry
    assert len(list(tmp_path.glob("phantom*"))) == 2


def test_inputs_of_an_inference_are_the_testing_cases(cohort):
    testing = json.loads((cohort / "datalist.json").read_text())["testing"]
    assert [case.name for case in InputCases(str(cohort / "datalist.json"))] == [entry["case"] for entry in testing]
    everything = list(InputCases(str(cohort / "datalist.json"), "all"))
    assert len(everything) == 4


@pytest.mark.parametrize("patch_size", [(9, 9), (9, 9, 5)], ids=["2-D", "3-D"])
def test_the_vessel_share_of_the_patches_is_centred_on_a_vessel(patch_size):
    source = OneCase()
    vessel = np.zeros(source.shape, np.uint8)
    vessel[20:22, 18, 4:14] = 1
    source.case.images[VESSEL] = np.ascontiguousarray(np.moveaxis(vessel, -1, 0))
    scale = ScaleHUWindowd((NCCT, CTA), WHOLE_INT16)

    def centred(share: float) -> float:
        dataset = PatchDataset(source, transforms=[scale], patch_size=patch_size, vessel_share=share)
        centres = [in_hu(dataset[0, n][NCCT][0])[tuple(size // 2 for size in patch_size)] for n in range(60)]
        numbers = [round(float(centre)) + source.volume.size // 2 for centre in centres]
        return float(np.mean([vessel.flat[number] for number in numbers]))

    assert centred(0.0) < 0.1
    assert 0.3 < centred(0.5) < 0.7
    assert centred(1.0) == 1.0


def test_a_case_without_vessels_is_drawn_all_the_same():
    source = OneCase()
    source.case.images[VESSEL] = np.zeros((20, 40, 36), np.uint8)
    dataset = PatchDataset(source, transforms=[], patch_size=(50, 8), vessel_share=1.0)
    assert dataset[0, 0][NCCT].shape == (1, 50, 8)


@pytest.mark.parametrize("in_slices", [3, 5])
def test_a_sample_has_the_slices_around_its_own_as_channels(in_slices):
    scale = [ScaleHUWindowd((NCCT, CTA), WHOLE_INT16)]
    one, more = (
        PatchDataset(OneCase(), transforms=scale, patch_size=(16, 16), in_slices=count) for count in (1, in_slices)
    )
    ends = 0
    for position in range(40):
        own, shown = (WHOLE_INT16.denormalise(each[1, position][NCCT]).round() for each in (one, more))
        assert shown.shape == (in_slices, 16, 16)
        assert torch.equal(shown[in_slices // 2], own[0])
        assert torch.equal(more[1, position][CTA], one[1, position][CTA])
        steps = shown.diff(dim=0).unique()
        assert set(steps.tolist()) <= {0, 1}  # the case numbers its voxels, Z fastest
        ends += 0 in steps
    assert 0 < ends < 40  # some slices lie at an end of the volume, where the last one is repeated


def test_the_slices_around_are_moved_with_their_own(cases):
    transforms = make_patches(cases).transform.transforms
    one, three = (PatchDataset(cases, transforms=transforms, patch_size=(32, 32), in_slices=count) for count in (1, 3))
    for position in range(4):
        own, shown = trained_on(one, position), trained_on(three, position)
        assert torch.equal(shown[NCCT][1:2], own[NCCT])
        assert torch.equal(shown[CTA], own[CTA])


class MovedByMonai(RandomizableTransform, MapTransform):
    """What moved a sample before batches were moved: each patch by MONAI and SciPy."""

    def __init__(self, spatial_dims: int) -> None:
        RandomizableTransform.__init__(self, 1.0)
        MapTransform.__init__(self, IMAGES)
        self.affine = RandAffined(
            ("cts", LUNG),
            prob=0.5,
            rotate_range=0.09 if spatial_dims == 2 else (0.0, 0.0, 0.09),
            scale_range=(0.1,) * spatial_dims,
            translate_range=(8.0,) * spatial_dims,
            mode=[3 if spatial_dims == 2 else "bilinear", "nearest"],
            padding_mode="border",
        )
        self.margin = RandMovement(spatial_dims).margin

    def set_random_state(self, seed=None, state=None):
        self.affine.set_random_state(seed, state)
        return self

    def __call__(self, data):
        cts = torch.cat([data[NCCT], data[CTA]])
        moved = self.affine({"cts": cts, LUNG: data[LUNG]})
        spatial = tuple(range(1, cts.ndim))
        inside = moved["cts"].clamp(cts.amin(spatial, keepdim=True), cts.amax(spatial, keepdim=True))
        return {NCCT: inside[:-1], CTA: inside[-1:], LUNG: moved[LUNG]}


@pytest.mark.parametrize(("patch_size", "in_slices"), [((32, 24), 1), ((32, 32), 3), ((32, 24, 12), 1)])
def test_a_sample_is_moved_as_ever(cases, patch_size, in_slices):
    scale = ScaleHUWindowd((NCCT, CTA), WINDOW)
    choices = {"patch_size": patch_size, "in_slices": in_slices, "seed": 5}
    ever = PatchDataset(cases, transforms=[scale, MovedByMonai(len(patch_size))], **choices)
    now = PatchDataset(cases, transforms=[scale, RandMovement(len(patch_size))], **choices)
    still = 0
    for position in range(12):
        expected, found = ever[1, position], trained_on(now, position)
        assert found[CASE] == expected[CASE]
        for key in (NCCT, CTA):
            assert found[key].shape == expected[key].shape
            assert WINDOW.half_width * (found[key] - expected[key]).abs().max() < 0.1  # HU
        assert (found[LUNG] != expected[LUNG]).float().mean() < 1e-3
        still += torch.equal(found[NCCT], expected[NCCT])
    assert 2 < still < 10  # these are themselves, bit for bit


class ThreeCases(OneCase):
    """Two virtual cases and a real one."""

    def opened(self, split: str) -> list[StoredCase]:
        kinds = (True, True, False)
        return [replace(self.case, name=f"case{number}", virtual=kind) for number, kind in enumerate(kinds)]


@pytest.mark.parametrize(("share", "least", "most"), [(None, 0.2, 0.5), (0.0, 1, 1), (0.2, 0.7, 0.9), (1.0, 0, 0)])
def test_virtual_cases_have_their_share_of_the_patches(share, least, most):
    dataset = PatchDataset(ThreeCases(), transforms=[], patch_size=(8, 8), virtual_share=share)
    drawn = [dataset[0, n][CASE] for n in range(150)]
    assert least <= drawn.count("case2") / len(drawn) <= most


def test_a_list_of_one_kind_is_drawn_from_whatever_the_share():
    dataset = PatchDataset(OneCase(), transforms=[], patch_size=(8, 8), virtual_share=1.0)
    assert dataset[0, 0][CASE] == "numbered"


def test_an_opened_case_says_that_it_is_virtual(cohort, tmp_path):
    listed = json.loads((cohort / "datalist.json").read_text())
    entries = {
        split: [
            {
                key: value if key in ("case", "virtual") else str(cohort / value)
                for key, value in {**entry, "virtual": split == TRAINING}.items()
            }
            for entry in listed[split]
        ]
        for split in (TRAINING, VALIDATION)
    }
    (tmp_path / "datalist.json").write_text(json.dumps(entries))
    cases = PairedCases(str(tmp_path / "datalist.json"))
    assert all(case.virtual for case in cases.opened(TRAINING))
    assert not any(case.virtual for case in cases.opened(VALIDATION))


class StreaksInOne(OneCase):
    """Two cases, of which the second ignores what its lung mask covers."""

    def opened(self, split: str) -> list[StoredCase]:
        streaks = {**self.case.images, IGNORE: self.case.images[LUNG]}
        return [self.case, replace(self.case, name="streaks", images=streaks)]


@pytest.mark.parametrize("patch_size", [(32, 32), (32, 32, 8)])
def test_the_mask_of_ignored_voxels_moves_with_the_others(patch_size):
    dataset = make_patches(StreaksInOne(), patch_size=patch_size)
    drawn = [trained_on(dataset, n) for n in range(12)]
    assert {sample[CASE] for sample in drawn} == {"numbered", "streaks"}
    assert any(sample[IGNORE].any() for sample in drawn)
    for sample in drawn:
        expected = sample[LUNG] if sample[CASE] == "streaks" else torch.zeros_like(sample[LUNG])
        assert torch.equal(sample[IGNORE], expected)


def test_cases_without_ignored_voxels_have_no_such_mask():
    assert IGNORE not in make_patches(ThreeCases())[0, 0]


def test_a_whole_case_has_its_ignored_voxels_only_where_it_has_some():
    class WithMasks(StreaksInOne):
        def opened(self, split: str) -> list[StoredCase]:
            lung = self.case.images[LUNG]
            return [replace(case, images={**case.images, VESSEL: lung, BODY: lung}) for case in super().opened(split)]

    plain, streaks = VolumeDataset(WithMasks())
    assert IGNORE not in plain
    assert torch.equal(streaks[IGNORE], streaks[LUNG])
