"""The record beside an output, ``{case}_syncta.json``: that it is synthetic, and what it was made from.

An output counts as done only if its record says that it was made from this input, these weights and these settings,
and if it is still the file that was written then.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..common.errors import InputError
from ..common.files import sha256_of, to_json
from ..data.cases import Case
from ..volumes.volume_files import files_of_volume

NOTICE = "Synthetic CT angiography, made by a neural network from a CT without contrast. Not for diagnosis."
SOFTWARE = ("ncct-cta", "torch", "monai")
RECORD_SUFFIX = "_syncta.json"
MADE_FROM, OUTPUTS = "made_from", "outputs"
# What a message says where a part of made_from differs.
WORDS = {"input_sha256": "another scan", "weights_sha256": "other weights", "settings": "other settings"}


@dataclass(frozen=True)
class Model:
    """What a record says of the network.

    Args:
        checkpoint: the name of the weights' file.
        weights_sha256: of its bytes.
        settings: those that change a prediction, as plain data.
        engine: what ran it, ``torch`` or ``openvino``: their predictions are the same within 1 HU, so it is recorded
            by its version and not compared.
    """

    checkpoint: str
    weights_sha256: str
    settings: Mapping[str, Any]
    engine: str = "torch"


def made_from(case: Case, model: Model) -> dict[str, Any]:
    """What the outputs of a case are made from, as its record holds it.

    No path stands in it: folders often carry the patient's name.

    Raises:
        InputError: if a file of the scan can't be read.
    """
    try:
        scan = sha256_of(*_files_of(case))
    except OSError as error:
        name = case.ncct if case.series is None else case.name  # a DICOM folder's name may be the patient's
        raise InputError(f"{name}: can't be read ({error.strerror or error}); check the path") from error
    origin = {"input_sha256": scan, "weights_sha256": model.weights_sha256, "settings": model.settings}
    return json.loads(to_json(origin))  # as it comes back from a file: lists for tuples


def _files_of(case: Case) -> Iterable[Path]:
    """All files that a scan is read from."""
    if case.series is not None:
        return sorted(file.path for file in case.series.slices)
    return files_of_volume(case.ncct)


def record_text(
    case: Case, origin: Mapping[str, Any], outputs: Mapping[str, str], model: Model, remarks: Iterable[str]
) -> str:
    """The content of a record.

    Args:
        case: what was synthesised.
        origin: as ``made_from`` gives it.
        outputs: the SHA-256 of each file by its name.
        model: the network.
        remarks: what is doubtful about the scan.
    """
    content = {
        "notice": NOTICE,
        "case": case.name,
        MADE_FROM: origin,
        "checkpoint": model.checkpoint,
        "remarks": list(remarks),
        "versions": {name: version(name) for name in dict.fromkeys((*SOFTWARE, model.engine))},
        "written": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        OUTPUTS: outputs,
    }
    return to_json(content)


def is_done(record: Path, outputs: Sequence[Path], origin: Callable[[], Mapping[str, Any]]) -> bool:
    """Whether all outputs of a case are there, as they were written, and were made from this.

    Args:
        record: the record's file.
        outputs: files; and folders, of which it only matters that they are there.
        origin: gives what ``made_from`` gives; called if there is something to compare it with.

    Returns:
        False if some aren't there and those that are may be made again.

    Raises:
        InputError: if one that is there was made from something else or changed, or if nothing says what it was made
            from.
    """
    there = [path for path in outputs if path.exists()]
    if not there:
        return False
    recorded = _read(record)
    if not recorded[MADE_FROM]:
        reason = f"no {record.name} beside it says what it was made from"
    elif differing := _differing(recorded[MADE_FROM], origin()):
        reason = f"it was made from {differing}"
    elif any(path.is_file() and recorded[OUTPUTS].get(path.name) != sha256_of(path) for path in there):
        reason = f"it isn't the file that {record.name} was written for"
    else:
        return len(there) == len(outputs)
    raise InputError(
        f"{there[-1]}: is there already, but {reason}; --overwrite replaces it, or choose another --output"
    )


def is_of_another(record: Path, path: Path) -> bool:
    """Whether a record says that a file beside it isn't one of the outputs that it was written for.

    Args:
        record: the record's file; one that isn't there, or can't be read, says nothing.
        path: a file that is there.
    """
    outputs = _read(record)[OUTPUTS]
    return bool(outputs) and outputs.get(path.name) != sha256_of(path)


def _differing(recorded: Mapping[str, Any], origin: Mapping[str, Any]) -> str:
    return " and ".join(word for key, word in WORDS.items() if recorded.get(key) != origin[key])


def _read(record: Path) -> dict[str, Any]:
    """The parts of a record that are compared; empty ones where there is no record that can be read."""
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        content = {}
    parts = content if isinstance(content, dict) else {}
    return {key: parts[key] if isinstance(parts.get(key), dict) else {} for key in (MADE_FROM, OUTPUTS)}
