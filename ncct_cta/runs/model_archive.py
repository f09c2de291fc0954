"""A packed model: one zip file with weights, settings and card, in which nothing can run.

The members are stored as they are and are all named here. ``SHA256SUMS`` lists the others, for this software and for
``sha256sum -c`` after unpacking. It tells damage and tampering with a part. Whoever remakes the whole archive can
remake the list too: only the archive's own SHA-256, from someone trusted, tells that.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from ..common.errors import InputError
from ..common.files import to_json, written_whole
from ..networks.architectures import is_own_class
from ..settings import Settings
from .names import require_model
from .starter import WHOSE, is_starter, packed_model_of
from .tensor_file import tensors_from_bytes, tensors_to_bytes

logger = logging.getLogger(__name__)

CARD, WORDS, SETTINGS, WEIGHTS, SUMS = "card.json", "README.md", "settings.json", "weights.safetensors", "SHA256SUMS"
MEMBERS = (CARD, WORDS, SETTINGS, WEIGHTS)
FORMAT, FORMAT_VERSION = "ncct-cta model", 1
EARLIEST = (1980, 1, 1, 0, 0, 0)  # of a zip file; without the time the same run gives the same archive
LONGEST_SHOWN = 60


@dataclass(frozen=True)
class PackedModel:
    """What an archive holds.

    Args:
        settings: of the training; texts that could be paths are the defaults.
        weights: the cascade's, averaged.
        card: what is said of the model, plain data.
        words: the same for people, in Markdown.
    """

    settings: Settings
    weights: Mapping[str, torch.Tensor]
    card: Mapping[str, Any]
    words: str


def write_archive(path: Path, model: PackedModel) -> None:
    """Write an archive; the same model gives the same bytes.

    Raises:
        InputError: if it can't be written.
    """
    members = {
        CARD: to_json({"format": FORMAT, "format_version": FORMAT_VERSION, **model.card}).encode(),
        WORDS: model.words.encode(),
        SETTINGS: to_json(model.settings.as_plain()).encode(),
        WEIGHTS: tensors_to_bytes(model.weights),
    }
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in members.items())
    with written_whole(path, ".zip") as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name, content in (members | {SUMS: sums.encode()}).items():
            archive.writestr(zipfile.ZipInfo(name, EARLIEST), content)


def read_archive(path: str | Path) -> PackedModel:
    """Read an archive of which everything has been checked; nothing is unpacked to the disk, and nothing executed.

    Raises:
        InputError: if it is missing or damaged, holds anything else than a packed model does, or was tampered with.
    """
    path = Path(path)
    require_model(path)
    try:
        members = _members(path)
        card = _plain(members[CARD], CARD)
        _require_known(card)
        settings = _settings(_plain(members[SETTINGS], SETTINGS))
        return PackedModel(settings, tensors_from_bytes(members[WEIGHTS]), card, members[WORDS].decode())
    except (ValueError, OSError, RuntimeError, NotImplementedError, MemoryError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{path}: not a packed model that can be used: {reason}; ask for another copy") from error


def read_named(name: str) -> tuple[Path, PackedModel]:
    """Read the packed model that a user names, and of the starter model say whose weights these are.

    Args:
        name: a path, or ``starter``.

    Returns:
        its file, and what it holds.

    Raises:
        InputError: as ``read_archive`` does.
    """
    file = Path(packed_model_of(name))
    packed = read_archive(file)
    if is_starter(file):
        logger.warning("%s", WHOSE)
    return file, packed


def _members(path: Path) -> dict[str, bytes]:
    """Every member's bytes, which are what ``SHA256SUMS`` says."""
    with open(path, "rb") as file:
        content = file.read()
    # Checked and read from memory: a file that changes in between can't slip through.
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
        for entry in entries:
            _require_plain(entry)
        names = [entry.filename for entry in entries]
        repeated = next((name for name in names if names.count(name) > 1), None)
        if repeated:
            raise ValueError(f"it holds {repeated} twice")
        missing = [name for name in (*MEMBERS, SUMS) if name not in names]
        if missing:
            raise ValueError(f"it lacks {', '.join(missing)}")
        declared = sum(entry.file_size for entry in entries)
        if declared > len(content):
            raise ValueError(f"its {len(content)} bytes unpack to {declared}, which no packed model's do")
        members = {name: archive.read(name) for name in names}
    listed = "".join(f"{hashlib.sha256(members[name]).hexdigest()}  {name}\n" for name in MEMBERS)
    given = members[SUMS].decode("utf-8", "replace")
    differing = [line.split()[1] for line in listed.splitlines() if line not in given.splitlines()]
    if differing:
        raise ValueError(f"the SHA-256 of {', '.join(differing)} isn't the one in {SUMS}: it was changed")
    if given != listed:  # sha256sum -c would say otherwise of the same archive
        raise ValueError(f"{SUMS} lists other files or digests too: it was changed")
    return members


def _require_plain(entry: zipfile.ZipInfo) -> None:
    """Refuse a member that isn't a plain file of a known name, stored as it is."""
    name = entry.filename
    shown = repr(name[:LONGEST_SHOWN])
    place = PurePosixPath(name.replace("\\", "/"))
    if place.is_absolute() or ".." in place.parts or ":" in name:
        raise ValueError(f"its member {shown} would lie outside of its folder")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise ValueError(f"its member {shown} is a link")
    if name not in (*MEMBERS, SUMS):
        raise ValueError(f"it holds {shown}, which no packed model does: it could be code")
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 0x1:
        raise ValueError(f"its member {shown} is compressed or encrypted, as pack never does")


def _plain(content: bytes, name: str) -> dict[str, Any]:
    """A member's JSON, whose names each stand once: else a person and this software could read different values."""
    try:
        found = json.loads(content, object_pairs_hook=lambda pairs: _each_once(pairs, name), parse_constant=_no_number)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        raise ValueError(f"{name} is no JSON") from None
    if not isinstance(found, dict):
        raise ValueError(f"{name} is a {type(found).__name__}, expected names with values")
    return found


def _each_once(pairs: list[tuple[str, Any]], member: str) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{member} gives {repeated[:LONGEST_SHOWN]!r} twice")
    return content


def _no_number(word: str) -> float:
    """Refuse NaN and infinity, which JSON lacks."""
    raise json.JSONDecodeError("not a number", word, 0)


def _require_known(card: Mapping[str, Any]) -> None:
    version = card.get("format_version")
    if card.get("format") != FORMAT or type(version) is not int:
        raise ValueError(f"{CARD} isn't that of a model of this software")
    if version > FORMAT_VERSION:
        raise ValueError(f"its format is version {version}, and this software knows {FORMAT_VERSION}: update ncct-cta")


def _settings(plain: Mapping[str, Any]) -> Settings:
    unknown = sorted(set(plain) - set(Settings().as_plain()))
    if unknown:  # a preprocessing of its own, for one, would be code
        raise ValueError(f"{SETTINGS} holds {unknown[0][:LONGEST_SHOWN]!r}, which is no section of the settings")
    settings = Settings.parse(plain)
    if is_own_class(settings.model.architecture):
        named = settings.model.architecture[:LONGEST_SHOWN]
        raise ValueError(f"its network is the class {named}, which is code: a packed model holds none")
    return settings
