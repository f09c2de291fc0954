"""Inference: from a scan in HU to a NIfTI file in HU on the same grid, and to DICOM if wanted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.engines import SupervisedEvaluator
from monai.transforms import Spacing, SpatialResample
from torch import nn
from tqdm import tqdm

from ..common.errors import InputError
from ..common.hu import to_int16_hu
from ..common.keys import CASE
from ..common.tracing import describe, stage
from ..data.cases import Case
from ..inferers.volume import REFINED, VolumeInferer
from ..volumes.nifti import Volume
from ..volumes.nifti_write import write_like
from ..volumes.orientation import from_ras, spacing_to_ras, to_ras
from ..volumes.reading import read_volume

logger = logging.getLogger(__name__)

OUTPUT_SUFFIX = "_syncta.nii.gz"
DICOM_SUFFIX = "_syncta_dicom"
STAGE_SUFFIXES = {"coarse": "_coarse.nii.gz", "intermediate": "_intermediate.nii.gz", REFINED: OUTPUT_SUFFIX}
PATH, FAILURE, SKIPPED = "path", "failure", "skipped"


class InferenceEngine(SupervisedEvaluator):
    """Synthesise the CTA of every case and write it; a bad case is recorded, the others go on.

    ``state.output`` holds the case's name, the ``path`` written and the ``failure`` or None; ``outputs`` all of them.

    Args:
        device: where the network lies.
        cases: what to synthesise.
        network: the cascade.
        inferer: how the cascade covers a volume.
        output_dir: where ``{case}_syncta.nii.gz`` go.
        spacing: voxel size in mm that the network was trained on; None: each scan's own.
        overwrite: replace files that are there; otherwise a case that has all its files is skipped.
        save_intermediates: also write what G gave and what G2 got, ``{case}_coarse`` and ``{case}_intermediate``.
        write_dicom: also write the CTA of a DICOM series as DICOM: given the case, the HU and the folder to write,
            ``{case}_syncta_dicom``.
        handlers: what happens around the cases.
    """

    inferer: VolumeInferer

    def __init__(
        self,
        *,
        device: torch.device,
        cases: Iterable[Case],
        network: nn.Module,
        inferer: VolumeInferer,
        output_dir: str | Path,
        spacing: Sequence[float] | None = None,
        overwrite: bool = False,
        save_intermediates: bool = False,
        write_dicom: Callable[[Case, np.ndarray, Path], None] | None = None,
        handlers: Sequence | None = None,
    ) -> None:
        super().__init__(
            device=device,
            val_data_loader=cases,
            network=network,
            inferer=inferer,
            val_handlers=handlers,
            decollate=False,
        )
        self.cases = cases
        self.output_dir = Path(output_dir)
        self.spacing = spacing
        self.overwrite = overwrite
        # The synthetic CTA last: while it isn't there, the case isn't done.
        self.stages = tuple(STAGE_SUFFIXES) if save_intermediates else (REFINED,)
        self.write_dicom = write_dicom
        self.outputs: list[dict[str, Any]] = []

    def run(self, global_epoch: int = 1) -> None:  # type: ignore[override]
        """Synthesise all cases.

        Raises:
            InputError: if there is nothing to synthesise.
        """
        self.data_loader = iter(self.cases)  # bad input ends it here: within the run Ignite would log a second line
        super().run(global_epoch)

    def _iteration(self, engine: Any, case: Case) -> dict[str, Any]:  # type: ignore[override]
        paths = {name: self.output_dir / f"{case.name}{STAGE_SUFFIXES[name]}" for name in self.stages}
        output: dict[str, Any] = {CASE: case.name, PATH: paths[REFINED], FAILURE: None, SKIPPED: False}
        dicom = [self._dicom_folder(case)] if self.write_dicom is not None else []
        if all(path.exists() for path in [*paths.values(), *dicom]) and not self.overwrite:
            output[SKIPPED] = True
        else:
            try:
                self._synthesise_file(case, paths)
            except InputError as error:
                output[FAILURE] = str(error)
        self.outputs.append(output)
        return output

    def _dicom_folder(self, case: Case) -> Path:
        return self.output_dir / f"{case.name}{DICOM_SUFFIX}"

    def _synthesise_file(self, case: Case, paths: Mapping[str, Path]) -> None:
        if self.write_dicom is not None and case.series is None:
            raise InputError(f"{case.name}: DICOM can be written for a DICOM series only; leave out --dicom")
        with stage(logger, f"{case.name}: read"):
            volume = read_volume(case.ncct, series=case.series)
        logger.debug("%s: %s, affine %s", case.name, describe(volume.array), volume.affine.tolist())
        with stage(logger, f"{case.name}: synthesise"):
            images = synthesise_stages(volume, self.network, self.inferer, spacing=self.spacing, stages=self.stages)
        logger.debug("%s: synthetic CTA %s", case.name, describe(images[REFINED]))
        with stage(logger, f"{case.name}: write"):
            if self.write_dicom is not None:
                self.write_dicom(case, images[REFINED], self._dicom_folder(case))
            for name, hu in images.items():
                write_like(hu, volume, paths[name])


def synthesise(
    volume: Volume, network: nn.Module, inferer: VolumeInferer, *, spacing: Sequence[float] | None = None
) -> np.ndarray:
    """Synthesise the CTA of a scan, int16 HU on the scan's own grid; see ``synthesise_stages``."""
    return synthesise_stages(volume, network, inferer, spacing=spacing)[REFINED]


def synthesise_stages(
    volume: Volume,
    network: nn.Module,
    inferer: VolumeInferer,
    *,
    spacing: Sequence[float] | None = None,
    stages: Sequence[str] = (REFINED,),
) -> dict[str, np.ndarray]:
    """Synthesise the CTA of a scan, on the scan's own grid, and give the stages on the way to it if wanted.

    The network's change is added to the scan's own HU, so what it leaves alone stays exact, also outside the window
    and also when the network sees another voxel size.

    Args:
        volume: the NCCT in HU, in any orientation.
        network: the cascade.
        inferer: how the cascade covers a volume.
        spacing: voxel size in mm that the network was trained on; None: the scan's own.
        stages: names of the ``Stages`` to give.

    Returns:
        int16 HU, the shape of ``volume``, for each of ``stages``.

    Raises:
        InputError: if the volume is smaller than the training patch.
    """
    ras, orientation = to_ras(volume.array, volume.affine)
    # In memory slice by slice, as the network takes them: gathering strided slices would cost ten times as much.
    ncct_hu = torch.from_numpy(np.ascontiguousarray(np.moveaxis(ras, -1, 0))).permute(1, 2, 0)
    if spacing is None:
        _check_size(ncct_hu, inferer, volume)
        images = _on_own_grid(ncct_hu, network, inferer, stages)
    else:
        own_spacing = spacing_to_ras(volume.spacing, orientation)
        grid = MetaTensor(ncct_hu[None].float(), affine=torch.diag(torch.tensor([*own_spacing, 1.0])))
        network_grid: Any = Spacing(pixdim=spacing, mode="bilinear", padding_mode="border")(grid)
        _check_size(network_grid[0], inferer, volume)
        changes = _changes_from(network_grid, grid, network, inferer, stages)
        images = {name: to_int16_hu(ncct_hu.numpy() + change) for name, change in changes.items()}
    return {name: from_ras(image, orientation) for name, image in images.items()}


def _on_own_grid(
    ncct_hu: torch.Tensor, network: nn.Module, inferer: VolumeInferer, stages: Sequence[str]
) -> dict[str, np.ndarray]:
    """Each stage of (X, Y, Z) HU in int16 HU, slice by slice in memory as the network gives them."""
    width, height, depth = ncct_hu.shape
    images = {name: torch.empty((depth, width, height), dtype=torch.int16).permute(1, 2, 0) for name in stages}
    with tqdm(total=depth, desc="slices", unit="slice", leave=False) as bar:
        for slices in inferer.synthesise(ncct_hu, network, images):
            bar.update(slices.span.stop - slices.span.start)
    return {name: image.numpy() for name, image in images.items()}


def _changes_from(
    network_grid: MetaTensor, grid: MetaTensor, network: nn.Module, inferer: VolumeInferer, stages: Sequence[str]
) -> dict[str, np.ndarray]:
    """The change in HU to each stage, made on the network's grid and brought to ``grid``; both (1, X, Y, Z) in HU."""
    ncct_hu = network_grid.as_tensor()[0]
    images = {name: torch.empty_like(ncct_hu) for name in stages}
    for _ in inferer.synthesise(ncct_hu, network, images):
        pass
    resample = SpatialResample(mode="bilinear", padding_mode="border")
    return {
        name: resample(
            MetaTensor((image - ncct_hu)[None], affine=network_grid.affine),
            dst_affine=grid.affine,
            spatial_size=grid.shape[1:],
        )[0].numpy()
        for name, image in images.items()
    }


def _check_size(ncct_hu: torch.Tensor, inferer: VolumeInferer, volume: Volume) -> None:
    if any(size < patch for size, patch in zip(ncct_hu.shape, inferer.patch_size, strict=False)):
        raise InputError(
            f"{volume.path}: the volume is {' x '.join(map(str, ncct_hu.shape))} voxels on the network's grid, smaller "
            f"than its training patch {' x '.join(map(str, inferer.patch_size))}; give a larger or finer scan"
        )
