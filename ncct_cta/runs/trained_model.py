"""A trained model, rebuilt in Python from a run's folder, a checkpoint or a packed model; nothing is evaluated."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from monai.transforms import Compose
from torch import nn

from ..common.errors import InputError
from ..common.files import sha256_of
from ..common.precision import resolve_amp, resolve_device
from ..inferers.builders import build_inferer
from ..inferers.openvino_network import NotConverted, OpenVINONetwork, chosen_engine
from ..networks.architectures import ARCHITECTURES, architecture_problems, is_own_class
from ..networks.builders import build_cascade, build_generator, build_refine_net, build_synthesizer
from ..settings import ModelConfig, RefineConfig, Settings, settings_of
from ..settings.declaration import Section, in_one_line
from .checkpoints import check_settings, load_checkpoint, load_weights, network_weights
from .model_archive import read_named
from .names import CONFIG, SETTINGS, checkpoint_of
from .record import read_config
from .recorded_preprocessing import PREPROCESSING, has_own_preprocessing, recorded_preprocessing
from .warm_start import settings_of_weights

logger = logging.getLogger(__name__)


class TrainedModel:
    """The cascade with its trained weights and the inferer that fits it.

    Pass ``run``, ``checkpoint`` or both, or ``archive``; with none, the default network with random weights is built,
    for shape checks.

    Args:
        run: a run's folder: settings from its ``config.yaml``, the averaged weights of ``checkpoint_best.pt``.
        checkpoint: a checkpoint; without ``run``, its own settings or the ``config.yaml`` next to it are used.
        archive: a packed model (``model_archive``), which comes with all that it needs; ``starter``: the one in the
            package, of which a line is logged.
        device: ``auto``, or PyTorch's name of a device.
        amp: mixed precision: off, bf16, fp16, or auto, which ``resolve_amp`` makes one of these; empty: as trained.
        batch_size: slices or patches per forward pass; 0: as trained.
        engine: what runs the cascade: ``torch``, or ``openvino`` on a CPU.
        trust: also import a network class that isn't this package's, or a preprocessing of the run's own, which runs
            their code.

    Attributes:
        preprocessing: the run's own list, which inference applies; None: the shipped one.

    Raises:
        InputError: if files are missing or damaged, the weights don't fit the settings or were trained with others, or
            they name a network class from outside or come with a preprocessing of their own, and ``trust`` isn't given.
    """

    def __init__(
        self,
        run: str = "",
        checkpoint: str = "",
        archive: str = "",
        *,
        device: str = "auto",
        amp: str = "",
        batch_size: int = 0,
        engine: str = "torch",
        trust: bool = False,
    ) -> None:
        self.untrained = not (run or checkpoint or archive)
        given = _unpacked(archive) if archive else _loaded(run, checkpoint, trust=trust)
        self.checkpoint, self.settings, self.preprocessing = given.file, given.settings, given.preprocessing
        train = self.settings.train
        self.device = resolve_device(device)
        precision, size = resolve_amp(amp or train.amp, self.device), batch_size or train.batch_size
        if precision != (amp or train.amp):
            logger.info("mixed precision: %s, as suits this %s device", precision, self.device.type)
        train = dataclasses.replace(train, device=device, amp=precision, batch_size=size)
        self.settings = dataclasses.replace(self.settings, train=train)
        self.engine = chosen_engine(engine, self.device)
        source = run or checkpoint or archive
        require_trusted(self.settings, source, trust=trust)
        _require_buildable(self.settings, source)
        generator = build_generator(self.settings.model)
        refine_net = build_refine_net(self.settings.model, self.settings.refine)
        self.network: nn.Module = build_synthesizer(generator, refine_net, self.settings.refine)
        self.cascade: nn.Module = build_cascade(generator, refine_net, self.settings.refine, self.device)
        self.inferer = build_inferer(self.settings.data, generator, train)
        if given.file:
            load_weights(self.cascade, given.weights, given.file)
        self.cascade.to(self.device).eval()
        if self.engine == "openvino" and not self.untrained:
            self._run_in_openvino()

    def _run_in_openvino(self) -> None:
        """Let OpenVINO run the cascade."""
        inferer, model = self.inferer, self.settings.model
        side_by_side = min(torch.get_num_threads(), inferer.batch_size) if model.spatial_dims == 2 else 1
        try:
            if is_own_class(model.architecture):  # whose code may decide by an image's size, which is lost
                raise NotConverted("it is a class of your own")
            self.cascade = OpenVINONetwork(
                self.cascade,
                spatial_dims=model.spatial_dims,
                multiple=inferer.multiple,
                in_slices=inferer.in_slices,
                amp=inferer.amp,
                streams=side_by_side,
            )
        except NotConverted as reason:
            raise InputError(f"--engine openvino can't run this network: {reason}; give --engine torch") from reason

    @property
    def identity(self) -> str:
        """The name and SHA-256 of the checkpoint's or the packed model's file, as printed by ``sha256sum``."""
        if self.checkpoint is None:
            return "untrained"
        return f"{self.checkpoint.name} sha256:{sha256_of(self.checkpoint)}"


class _Given(NamedTuple):
    """What a trained model is built from; ``file`` is what its weights come from."""

    file: Path | None
    settings: Settings
    preprocessing: Compose | None
    weights: Mapping[str, torch.Tensor]


def _loaded(run: str, checkpoint: str, *, trust: bool) -> _Given:
    """From a run's folder, a checkpoint or both."""
    file = checkpoint_of(run, checkpoint)
    content = load_checkpoint(file) if file else {}
    recorded, source = _recorded(run, file, content)
    settings = _parsed(recorded, source)
    if file:
        _require_of_one_training(recorded, settings, content, file)
    preprocessing = None
    if has_own_preprocessing(recorded):
        preprocessing = recorded_preprocessing(recorded, settings.data, source, trust=trust)
    return _Given(file, settings, preprocessing, network_weights(content, file) if file else {})


def _unpacked(archive: str) -> _Given:
    """From a packed model, whose preprocessing is the shipped one."""
    file, packed = read_named(archive)
    return _Given(file, packed.settings, None, packed.weights)


def require_trusted(settings: Settings, source: str, *, trust: bool) -> None:
    """Refuse a network class that isn't this package's, unless the user trusts where it comes from.

    Raises:
        InputError: naming the class and the option.
    """
    architecture = settings.model.architecture
    if trust or not is_own_class(architecture):
        return
    raise InputError(
        f"{source}: its network is the class {architecture}, not one of {', '.join(ARCHITECTURES)}; loading it runs "
        "its code: add --trust if you trust where this comes from"
    )


def _require_buildable(settings: Settings, source: str) -> None:
    """Refuse a network that can't be built, though each of its settings is fine alone.

    Raises:
        InputError: naming the settings.
    """
    model = settings.model
    problems = architecture_problems(model.architecture, model.channels, model.norm, settings.data.patch_size)
    if problems:
        raise InputError(f"{source}: {in_one_line(problems)}")


def _recorded(run: str, file: Path | None, content: Mapping[str, Any]) -> tuple[Mapping[str, Any], Path | None]:
    """What is recorded of the training, settings and preprocessing, and the folder or the checkpoint it stands in."""
    stored = content.get(SETTINGS, {})
    folder = Path(run) if run else file.parent if file and not stored else None
    _refuse_newer(stored, file)
    return (stored, file) if folder is None else (read_config(folder), folder)


def _parsed(recorded: Mapping[str, Any], source: Path | None) -> Settings:
    """The settings, read by this version: a run that an older version trained still works."""
    try:
        return Settings.parse(settings_of(recorded))
    except InputError as error:
        raise InputError(f"{source}: {error}") from error


def _require_of_one_training(
    recorded: Mapping[str, Any], settings: Settings, content: Mapping[str, Any], file: Path
) -> None:
    """Refuse a run's settings that aren't those of its checkpoint, as far as that has some: all images would be wrong.

    Raises:
        InputError: naming what differs.
    """
    stored = content.get(SETTINGS, {})
    remedy = f"give the run that the checkpoint is from, or the checkpoint alone; its {CONFIG} may have been edited"
    check_settings(stored, settings.as_plain(), settings_of_weights(settings), file, remedy)
    # One that records no list was trained on the shipped one, which may have been another in its version.
    if stored.get(PREPROCESSING, recorded.get(PREPROCESSING)) != recorded.get(PREPROCESSING):
        raise InputError(f"{file}: its scans were preprocessed by another list than the run's; {remedy}")


def _refuse_newer(stored: Mapping[str, Any], file: Path | None) -> None:
    """A setting of the networks that this version doesn't know would be left out, and the images be wrong."""
    kinds: dict[str, type[Section]] = {"model": ModelConfig, "refine": RefineConfig}
    sections = {name: stored.get(name, {}) for name in kinds}
    unknown = [
        f"{name}.{key}"
        for name, values in sections.items()
        if isinstance(values, Mapping)
        for key in values
        if key not in kinds[name].names()
    ]
    if unknown:
        raise InputError(f"{file}: its settings {in_one_line(unknown)} aren't known to this version; update ncct-cta")
