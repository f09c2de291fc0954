"""Archives that strangers made: whatever isn't a packed model is refused in one line, and nothing of it runs."""

from __future__ import annotations

import hashlib
import json
import stat
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ncct_cta.common.errors import InputError
from ncct_cta.infer.command import main as infer
from ncct_cta.runs.model_archive import MEMBERS, SUMS, PackedModel, read_archive, write_archive
from ncct_cta.settings import Settings

Members = dict[str, bytes]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "model.zip"
    write_archive(path, PackedModel(Settings(), {"weight": torch.arange(6.0)}, {"licence": "none"}, "# A model\n"))
    return path


def members(path: Path) -> Members:
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def write(path: Path, content: Members, *, resummed: bool = True, compression: int = zipfile.ZIP_STORED) -> None:
    """An archive of these members; ``resummed``: with a list of digests that fits them."""
    if resummed:
        sums = (f"{hashlib.sha256(content[name]).hexdigest()}  {name}\n" for name in MEMBERS if name in content)
        content = content | {SUMS: "".join(sums).encode()}
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in content.items():
            file.writestr(name, data)


def changed(name: str, change: Callable[[bytes], bytes], *, resummed: bool = True) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        content = members(path)
        write(path, content | {name: change(content[name])}, resummed=resummed)

    return apply


def with_member(name: str, data: bytes = b"x") -> Callable[[Path], None]:
    return lambda path: write(path, members(path) | {name: data})


def in_settings(section: str, **values: object) -> Callable[[Path], None]:
    def change(text: bytes) -> bytes:
        settings = json.loads(text)
        settings[section] = settings.get(section, {}) | values
        return json.dumps(settings).encode()

    return changed("settings.json", change)


def with_link(path: Path) -> None:
    content = members(path)
    entry = zipfile.ZipInfo("README.md")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as file:
        for name, data in content.items():
            file.writestr(entry if name == "README.md" else name, b"/etc/passwd" if name == "README.md" else data)


def twice(path: Path) -> None:
    with zipfile.ZipFile(path, "a") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python's own, of the name given twice
        file.writestr("card.json", b"{}")


def bomb(path: Path) -> None:
    """The central directory declares more than the file holds."""
    content = path.read_bytes()
    with zipfile.ZipFile(path) as file:
        size = file.getinfo("weights.safetensors").file_size.to_bytes(4, "little")
    at = content.rindex(size, 0, content.rindex(b"weights.safetensors"))
    path.write_bytes(content[:at] + (2**31).to_bytes(4, "little") + content[at + 4 :])


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def one_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(b"# A model")] ^= 1
    path.write_bytes(content)


def without(name: str) -> Callable[[Path], None]:
    return lambda path: write(path, {key: value for key, value in members(path).items() if key != name}, resummed=False)


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "tampered": (
        changed("weights.safetensors", lambda data: data[:-1] + b"\x7f", resummed=False),
        "SHA-256 of weights",
    ),
    "card tampered": (
        changed("card.json", lambda data: data.replace(b"none", b"free"), resummed=False),
        "of card.json",
    ),
    "one bit": (one_bit, "Bad CRC"),
    "cut": (cut, "not a packed model"),
    "no zip": (lambda path: path.write_bytes(b"PK\x03\x04 no"), "not a packed model"),
    "path outside": (with_member("../../evil.sh"), "outside of its folder"),
    "absolute": (with_member("/etc/cron.d/evil"), "outside of its folder"),
    "other separators": (with_member("..\\evil.bat"), "outside of its folder"),
    "drive": (with_member("C:evil.bat"), "outside of its folder"),
    "link": (with_link, "is a link"),
    "twice": (twice, "it holds card.json twice"),
    "pickle": (with_member("weights.pt"), "holds 'weights.pt', which no packed model does"),
    "code": (with_member("network.py"), "it could be code"),
    "compressed": (
        lambda path: write(path, members(path), compression=zipfile.ZIP_DEFLATED),
        "is compressed or encrypted",
    ),
    "bomb": (bomb, "unpack to"),
    "missing": (without("settings.json"), "it lacks settings.json"),
    "pickled weights": (changed("weights.safetensors", lambda data: b"\x80\x04\x95" + data), "no safetensors file"),
    "own class": (in_settings("model", architecture="os.system"), "the class os.system, which is code"),
    "own preprocessing": (in_settings("preprocessing", _target_="os.system"), "no section of the settings"),
    "newer setting": (in_settings("model", attention=True), "unknown setting model.attention"),
    "no settings": (changed("settings.json", lambda data: b"[" * 100_000), "settings.json is no JSON"),
    "a setting twice": (
        changed(
            "settings.json",
            lambda data: data.replace(b'"residual_output"', b'"residual_output": false, "residual_output"'),
        ),
        "gives 'residual_output' twice",
    ),
    "a word of the card twice": (
        changed("card.json", lambda data: data.replace(b'"licence"', b'"licence": "CC0", "licence"')),
        "gives 'licence' twice",
    ),
    "no number": (changed("card.json", lambda data: data.replace(b'"none"', b"NaN")), "card.json is no JSON"),
    "another digest listed too": (
        lambda path: write(
            path, members(path) | {SUMS: members(path)[SUMS] + b"0" * 64 + b"  card.json\n"}, resummed=False
        ),
        "lists other files or digests",
    ),
    "newer format": (
        changed("card.json", lambda data: data.replace(b'"format_version": 1', b'"format_version": 2')),
        "update ncct-cta",
    ),
    "other card": (changed("card.json", lambda data: b"{}"), "isn't that of a model of this software"),
}


def test_a_packed_model_comes_back_as_it_was(archive: Path) -> None:
    model = read_archive(archive)
    assert model.settings == Settings()
    assert torch.equal(model.weights["weight"], torch.arange(6.0))
    assert (model.card["licence"], model.words) == ("none", "# A model\n")


@pytest.mark.parametrize(("damage", "message"), FAULTS.values(), ids=FAULTS)
def test_anything_else_is_refused(damage: Callable[[Path], None], message: str, archive: Path) -> None:
    damage(archive)
    with pytest.raises(InputError, match=r"not a packed model that can be used") as refused:
        read_archive(archive)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("fault", ["tampered", "path outside", "pickle"])
def test_inference_refuses_it_in_one_line_and_writes_nothing(
    fault: str, archive: Path, cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    FAULTS[fault][0](archive)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit, match="2"):
        infer(["--model", str(archive), "--input", str(cohort), "--output", str(tmp_path / "out")])
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith(f"error: {archive}: not a packed model")
    assert sorted(tmp_path.rglob("*")) == before
