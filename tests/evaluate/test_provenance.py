from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ncct_cta.evaluate.provenance import Provenance


def made(folder: Path) -> tuple[Path, Path]:
    """A file and what it was made from, noted."""
    folder.mkdir(exist_ok=True)
    product, source = folder / "product", folder / "source"
    product.write_text("made")
    source.write_text("source")
    Provenance(folder).add(product, [source])
    return product, source


def test_a_file_is_current_while_neither_it_nor_its_sources_change(tmp_path: Path) -> None:
    product, source = made(tmp_path)
    assert Provenance(tmp_path).is_current(product, [source])
    assert not Provenance(tmp_path).is_current(product, [])
    source.write_text("another source")
    assert not Provenance(tmp_path).is_current(product, [source])
    product, source = made(tmp_path)
    product.unlink()
    assert not Provenance(tmp_path).is_current(product, [source])


@pytest.mark.parametrize("content", ["mad", "", "hand", "made by hand"])
def test_a_file_that_was_cut_or_replaced_is_made_again_which_is_said(tmp_path, caplog, content: str) -> None:
    product, source = made(tmp_path)
    before = product.stat()
    product.write_text(content)
    os.utime(product, ns=(before.st_atime_ns, before.st_mtime_ns))  # as after a power cut: its time says nothing
    assert not Provenance(tmp_path).is_current(product, [source])
    assert [record.getMessage() for record in caplog.records] == [
        f"{product}: isn't the file that was written here, it was cut or changed; it is made again"
    ]


@pytest.mark.parametrize(
    "content", ["{", "[]", "\udcff", "", "[" * 100_000], ids=["cut", "list", "not UTF-8", "empty", "deep"]
)
def test_damaged_notes_count_as_none_which_is_said(tmp_path: Path, caplog, content: str) -> None:
    product, source = made(tmp_path)
    (tmp_path / ".made_from.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    assert not Provenance(tmp_path).is_current(product, [source])
    assert "is damaged, so the files beside it are made again" in caplog.text


@pytest.mark.parametrize("note", [1, [], {"made_from": 5}, {"sha256": None}])
def test_a_note_of_another_kind_counts_as_none(tmp_path: Path, note: object) -> None:
    product, source = made(tmp_path)
    (tmp_path / ".made_from.json").write_text(json.dumps({"product": note}))
    assert not Provenance(tmp_path).is_current(product, [source])
