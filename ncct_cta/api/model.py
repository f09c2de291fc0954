"""A trained model in a Python program: load it once, synthesise from whatever the program holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from ..common.errors import InputError
from ..dicom.pseudonyms import KEY_FILE
from ..engines.inference import DICOM_SUFFIX, FAILURE, PATH
from ..engines.synthesis import synthesise
from ..infer.dicom_cases import DerivedSeriesWriter
from ..infer.input_cases import InputCases
from ..infer.running import engine_of
from ..inferers.volume import SynthesisedSlices, VolumeInferer
from ..runs.model_source import ModelSource
from ..runs.starter import STARTER, is_packed
from ..runs.trained_model import TrainedModel
from .images import like, volume_of

Progress = Callable[[float], None]
ImageT = TypeVar("ImageT")


class Model:
    """A trained network that turns a non-contrast chest CT into a synthetic CTA; not for diagnosis.

    >>> model = Model.load("runs/g")  # doctest: +SKIP
    >>> cta = model.synthesize(nib.load("scan.nii.gz"))  # doctest: +SKIP

    Args:
        trained: the network and its settings, as ``load`` reads them.
    """

    def __init__(self, trained: TrainedModel) -> None:
        self.trained = trained

    @classmethod
    def load(
        cls,
        path: str | PathLike[str],
        *,
        device: str = "auto",
        amp: str = "",
        batch_size: int = 0,
        engine: str = "torch",
        trust: bool = False,
    ) -> Model:
        """Load a run's folder, a checkpoint or a packed model.

        Args:
            path: the folder, whose best averaged weights are taken; the checkpoint's file; the packed model's, named
                .zip; or ``starter``, the model that comes with the package.
            device: ``auto``, or PyTorch's name of a device.
            amp: mixed precision: off, bf16, fp16 or auto (bf16 where the device computes in it); empty: as trained.
            batch_size: slices or patches per forward pass; 0: as trained.
            engine: torch, or openvino on a CPU.
            trust: also import a network or preprocessing that isn't this package's, which is code.

        Raises:
            InputError: if it isn't there, is damaged, or needs ``trust``.
        """
        given = str(path)
        if is_packed(given):
            source = ModelSource(archive=given)
        elif Path(given).is_dir():
            source = ModelSource(run=given)
        else:
            source = ModelSource(checkpoint=given)
        source.require()
        choices: dict[str, Any] = {"device": device, "amp": amp, "batch_size": batch_size}
        return cls(TrainedModel(*dataclasses.astuple(source), engine=engine, trust=trust, **choices))

    @property
    def identity(self) -> str:
        """The checkpoint's file name and SHA-256."""
        return self.trained.identity

    def synthesize(
        self,
        image: ImageT,
        *,
        affine: Any = None,
        output: str | PathLike[str] = "",
        progress: Progress | None = None,
    ) -> ImageT:
        """Synthesise the CTA of a scan: the voxels that ``ncct-cta infer`` writes, in the kind that was given.

        Args:
            image: a NumPy array (X, Y, Z) in HU, a nibabel or SimpleITK image, or a path: a NIfTI file or a DICOM
                folder.
            affine: of an array, (4, 4), from voxel indices to RAS+ mm.
            output: for a path, the folder to write to.
            progress: called with the share that is done, in (0, 1].

        Returns:
            int16 HU on the scan's grid. Of a path, that of the file written; of a DICOM folder, that of the derived
            series' folder.

        Raises:
            InputError: if the scan can't be used.
        """
        inferer = self.trained.inferer if progress is None else _Reporting(self.trained.inferer, progress)
        if isinstance(image, (str, PathLike)):
            return type(image)(self._write(Path(image), output, inferer))  # type: ignore[call-arg]
        trained = self.trained
        volume = volume_of(image, affine)
        hu = synthesise(
            volume,
            trained.cascade,
            inferer,  # type: ignore[arg-type]
            spacing=trained.settings.data.spacing,
            preprocessing=trained.preprocessing,
        )
        return like(hu, image)

    def _write(self, source: Path, output: str | PathLike[str], inferer: Any) -> Path:
        if not str(output):
            raise InputError("a path was given, but no folder to write to; give synthesize(path, output=folder)")
        folder = Path(output)
        cases = list(InputCases(str(source), key_file=str(folder / KEY_FILE)))
        if len(cases) != 1:
            raise InputError(f"{source}: holds {len(cases)} scans, expected one; give one, or use ncct-cta infer")
        (case,) = cases
        writer = DerivedSeriesWriter(self.identity) if case.series is not None else None
        engine = engine_of(self.trained, cases, folder, write_dicom=writer)
        engine.inferer = inferer
        engine.run()
        (made,) = engine.outputs
        if made[FAILURE]:
            raise InputError(made[FAILURE])
        return folder / f"{case.name}{DICOM_SUFFIX}" if writer else made[PATH]


def synthesize(
    image: ImageT,
    model: Model | str | PathLike[str] = STARTER,
    *,
    affine: Any = None,
    output: str | PathLike[str] = "",
    progress: Progress | None = None,
) -> ImageT:
    """Synthesise the CTA of one scan; see ``Model.synthesize``.

    Args:
        image: the scan.
        model: a loaded model, or what ``Model.load`` takes: for several scans, load it once. Without one it is the
            starter model, for trying the software.
        affine: of an array.
        output: for a path, the folder to write to.
        progress: called with the share that is done.
    """
    loaded = model if isinstance(model, Model) else Model.load(model)
    return loaded.synthesize(image, affine=affine, output=output, progress=progress)


class _Reporting:
    """An inferer that says how far it is."""

    def __init__(self, inferer: VolumeInferer, progress: Progress) -> None:
        self.inferer = inferer
        self.progress = progress

    def synthesise(
        self, ncct_hu: torch.Tensor, network: nn.Module, images: Mapping[str, torch.Tensor]
    ) -> Iterator[SynthesisedSlices]:
        for slices in self.inferer.synthesise(ncct_hu, network, images):
            self.progress(slices.span.stop / ncct_hu.shape[-1])
            yield slices
