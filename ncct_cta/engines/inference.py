"""Inference: from a scan in HU to a NIfTI file in HU on the same grid, and optionally to DICOM."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.engines import SupervisedEvaluator
from monai.transforms import Compose
from torch import nn

from ..common.errors import InputError, fault_in_words, is_news
from ..common.files import sha256_of, written_whole
from ..common.keys import CASE
from ..common.tracing import describe, stage
from ..data.cases import Case
from ..inferers.estimate import SD
from ..inferers.volume import REFINED, VolumeInferer
from ..volumes.nifti import Volume
from ..volumes.nifti_write import write_like
from ..volumes.reading import read_volume
from .output_record import RECORD_SUFFIX, Model, is_done, made_from, record_text
from .scan_remarks import remarks_on
from .synthesis import synthesise_stages

logger = logging.getLogger(__name__)

OUTPUT_SUFFIX = "_syncta.nii.gz"
DICOM_SUFFIX = "_syncta_dicom"
SD_SUFFIX = "_sd.nii.gz"
STAGE_SUFFIXES = {"coarse": "_coarse.nii.gz", "intermediate": "_intermediate.nii.gz", REFINED: OUTPUT_SUFFIX}
SUFFIXES = {SD: SD_SUFFIX, **STAGE_SUFFIXES}
SD_NOTE = "SD of synthetic CTAs in HU"
PATH, FAILURE, SKIPPED = "path", "failure", "skipped"


class InferenceEngine(SupervisedEvaluator):
    """Synthesise the CTA of every case and write it; a case that fails is recorded, and the others go on.

    ``state.output`` holds the case's name, the ``path`` written and the ``failure`` or None; ``outputs`` collects them
    all. Beside each CTA stands its record, ``{case}_syncta.json`` (``output_record``).

    Args:
        device: where the network lies.
        cases: what to synthesise.
        network: the cascade, or an ensemble of some.
        inferer: how the cascade covers a volume.
        model: what the records say of the network.
        output_dir: folder for ``{case}_syncta.nii.gz``.
        spacing: voxel size in mm that the network was trained on; None: each scan's own.
        preprocessing: the run's own list, which decides instead of ``spacing`` what the network sees; None: the
            shipped one.
        overwrite: replace files that are there; otherwise a case is skipped that was made from the same input, weights
            and settings, and fails where files are there that weren't.
        uncertainty: also write how far the predictions disagree, ``{case}_sd`` in HU; needs several (an ensemble, or an
            inferer with movements).
        save_intermediates: also write G's prediction and G2's input, ``{case}_coarse`` and ``{case}_intermediate``.
        write_dicom: writes the CTA of a DICOM series as DICOM too; called with the case, the HU and the output folder,
            ``{case}_syncta_dicom``.
        handlers: handlers to attach.
    """

    inferer: VolumeInferer

    def __init__(
        self,
        *,
        device: torch.device,
        cases: Iterable[Case],
        network: nn.Module,
        inferer: VolumeInferer,
        model: Model,
        output_dir: str | Path,
        spacing: Sequence[float] | None = None,
        preprocessing: Compose | None = None,
        overwrite: bool = False,
        save_intermediates: bool = False,
        uncertainty: bool = False,
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
        self.logger.addFilter(is_news)
        self.cases = cases
        self.model = model
        self.output_dir = Path(output_dir)
        self.spacing = spacing
        self.preprocessing = preprocessing
        self.overwrite = overwrite
        # The synthetic CTA comes last: as long as it is missing, the case isn't done.
        self.stages = (SD,) * uncertainty + (tuple(STAGE_SUFFIXES) if save_intermediates else (REFINED,))
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
        self.outputs.append(self.output_of(case))
        return self.outputs[-1]

    def output_of(self, case: Case) -> dict[str, Any]:
        """Synthesise a case and write it, unless it is done; whatever goes wrong, tell what came of it.

        Returns:
            what ``state.output`` holds.
        """
        paths = {name: self.output_dir / f"{case.name}{SUFFIXES[name]}" for name in self.stages}
        output: dict[str, Any] = {CASE: case.name, PATH: paths[REFINED], FAILURE: None, SKIPPED: False}
        try:
            if self._already_done(case, paths.values()):
                output[SKIPPED] = True
            else:
                self._synthesise_file(case, paths)
        except InputError as error:
            output[FAILURE] = str(error)
        except Exception as error:  # whatever it is, it is this case's failure and must not stop the others
            logger.debug("%s: unforeseen", case.name, exc_info=True)
            output[FAILURE] = _unforeseen(case, error)
        return output

    def _already_done(self, case: Case, paths: Iterable[Path]) -> bool:
        if self.overwrite:
            return False
        dicom = [self._dicom_folder(case)] if self.write_dicom is not None else []
        return is_done(self._record(case), [*dicom, *paths], lambda: made_from(case, self.model))

    def _dicom_folder(self, case: Case) -> Path:
        return self.output_dir / f"{case.name}{DICOM_SUFFIX}"

    def _record(self, case: Case) -> Path:
        return self.output_dir / f"{case.name}{RECORD_SUFFIX}"

    def _synthesise_file(self, case: Case, paths: Mapping[str, Path]) -> None:
        if self.write_dicom is not None and case.series is None:
            raise InputError(f"{case.name}: DICOM can be written for a DICOM series only; leave out --dicom")
        with stage(logger, f"{case.name}: read"):
            volume = read_volume(case.ncct, series=case.series)
        logger.debug("%s: %s, affine %s", case.name, describe(volume.array), volume.affine.tolist())
        with stage(logger, f"{case.name}: look for contrast and lungs"):
            remarks = list(remarks_on(volume))
        for remark in remarks:
            logger.warning("%s: %s", volume.path, remark)
        images = self._synthesise(case, volume)
        logger.debug("%s: synthetic CTA %s", case.name, describe(images[REFINED]))
        with stage(logger, f"{case.name}: write"):
            self._write(case, volume, images, paths, remarks)

    def _synthesise(self, case: Case, volume: Volume) -> dict[str, np.ndarray]:
        try:
            with stage(logger, f"{case.name}: synthesise"):
                return synthesise_stages(
                    volume,
                    self.network,
                    self.inferer,
                    spacing=self.spacing,
                    preprocessing=self.preprocessing,
                    stages=self.stages,
                )
        except InputError as error:
            remedy = "its weights are damaged or its precision is too low: take another checkpoint, or --amp off"
            raise InputError(f"{volume.path}: of what the network predicts {error}; {remedy}") from error

    def _write(
        self,
        case: Case,
        volume: Volume,
        images: Mapping[str, np.ndarray],
        paths: Mapping[str, Path],
        remarks: Sequence[str],
    ) -> None:
        """Write all files of a case beside their places before the first takes its place."""
        digests = {}
        with ExitStack() as renamed_last_to_first:
            for name in (REFINED, *(name for name in images if name != REFINED)):
                temporary = renamed_last_to_first.enter_context(written_whole(paths[name], ".nii.gz"))
                write_like(images[name], volume, temporary, **({"description": SD_NOTE} if name == SD else {}))
                digests[paths[name].name] = sha256_of(temporary)
            # The record before the files that it stands for: without them it is no harm, they without it would be.
            record = renamed_last_to_first.enter_context(written_whole(self._record(case)))
            origin = made_from(case, self.model)
            record.write_text(record_text(case, origin, digests, self.model, remarks), encoding="utf-8")
            if self.write_dicom is not None:
                self.write_dicom(case, images[REFINED], self._dicom_folder(case))


def _unforeseen(case: Case, error: Exception) -> str:
    """A case's failure in a line, whatever was raised."""
    name = case.ncct if case.series is None else case.name  # a DICOM folder's name may be the patient's
    reason = str(error).lower()
    if isinstance(error, MemoryError) or "out of memory" in reason or "allocate memory" in reason:
        return f"{name}: there isn't enough memory for it; free some, or give --batch-size 1 or --device cpu"
    return f"{name}: {fault_in_words(error)} (--debug shows all)"
