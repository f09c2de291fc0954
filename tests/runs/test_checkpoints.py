from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from ncct_cta.common.errors import InputError
from ncct_cta.runs.checkpoints import check_settings, load_checkpoint, load_weights, network_weights, part_weights


class Evil:
    """What a pickle may hold: a call that runs when it is read."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple:
        return Path.touch, (self.victim,)


def test_what_was_saved_is_read(tmp_path: Path) -> None:
    torch.save({"network": {"weight": torch.arange(3.0)}, "trainer": {"epoch": 7}}, tmp_path / "a.pt")
    content = load_checkpoint(tmp_path / "a.pt")
    assert content["trainer"] == {"epoch": 7}
    assert content["network"]["weight"].tolist() == [0, 1, 2]


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    torch.save({"network": Evil(tmp_path / "victim")}, tmp_path / "evil.pt")
    with pytest.raises(InputError, match="it holds Python objects beside tensors and plain data, which could run code"):
        load_checkpoint(tmp_path / "evil.pt")
    assert not (tmp_path / "victim").exists()


def test_an_archive_that_unpacks_to_more_than_it_holds_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            archive.writestr(f"archive/data/{number}", bytes(10**7))
    with pytest.raises(InputError, match="bytes unpack to 30000000, which no checkpoint's do"):
        load_checkpoint(tmp_path / "bomb.pt")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(value: float) -> None:
    network = nn.Linear(2, 1)
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    weights["weight"][0, 1] = value
    with pytest.raises(InputError, match=r"a\.pt: weight holds values that aren't finite; take an earlier"):
        load_weights(network, weights, "a.pt")


def test_a_file_in_the_older_format_is_read(tmp_path: Path) -> None:
    torch.save({"weight": torch.arange(3.0)}, tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    assert load_checkpoint(tmp_path / "a.pt")["weight"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "older"])
@pytest.mark.parametrize("damage", ["empty", "cut", "garbage"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: str, is_zip: bool) -> None:
    path = tmp_path / "a.pt"
    torch.save({"network": {"weight": torch.zeros(5000)}}, path, _use_new_zipfile_serialization=is_zip)
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "garbage": b"no checkpoint at all"}[damage])
    with pytest.raises(InputError, match=r"a\.pt: not a readable checkpoint, or damaged"):
        load_checkpoint(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.pt: there is no such checkpoint"):
        load_checkpoint(tmp_path / "nowhere.pt")


def test_a_file_that_holds_something_else_is_named(tmp_path: Path) -> None:
    torch.save(torch.zeros(3), tmp_path / "tensor.pt")
    with pytest.raises(InputError, match="holds a Tensor, expected a checkpoint"):
        load_checkpoint(tmp_path / "tensor.pt")


def test_the_averaged_weights_come_first_then_the_network_then_a_plain_state_dict() -> None:
    averaged, trained = {"w": torch.zeros(1)}, {"w": torch.ones(1)}
    assert network_weights({"network": trained, "ema": averaged}, "a.pt") == averaged
    assert network_weights({"network": trained, "ema": {}}, "a.pt") == trained
    assert network_weights(trained, "a.pt") == trained


@pytest.mark.parametrize("name", ["network", "ema"])
def test_weights_among_which_something_else_stands_are_not_passed_over(name: str) -> None:
    good = {"w": torch.ones(1), "v": torch.ones(1)}
    content = {"network": good, "ema": good} | {name: good | {"v": "x"}}
    with pytest.raises(InputError, match=rf"a\.pt: {name}\.v is no tensor, expected weights"):
        network_weights(content, "a.pt")


def test_an_average_of_something_else_is_not_taken_for_weights() -> None:
    weights = {"w": torch.ones(1)}
    assert network_weights({"ema": {"decay": 0.999}, "state_dict": weights}, "a.pt") == weights


@pytest.mark.parametrize("name", ["state_dict", "model", "net", "model_state_dict"])
def test_a_state_dict_beside_counters_and_an_optimiser_is_found(name: str) -> None:
    network = nn.Linear(2, 1)
    optimiser = torch.optim.Adam(network.parameters())
    content = {"epoch": 3, name: network.state_dict(), "optimizer": optimiser.state_dict()}
    assert network_weights(content, "a.pt").keys() == {"weight", "bias"}


def test_one_of_several_networks_is_not_guessed() -> None:
    weights = {"w": torch.ones(1)}
    with pytest.raises(InputError, match=r"a\.pt: holds several networks \(netG, netD\); save the one"):
        network_weights({"netG": weights, "netD": weights, "epoch": 3}, "a.pt")


@pytest.mark.parametrize("prefix", ["module._orig_mod.", "_orig_mod.module.", "module.", "module.module."])
@pytest.mark.parametrize("part", ["", "generator.", "generator.module."])
def test_the_prefixes_of_wrappers_are_taken_off(prefix: str, part: str) -> None:
    weights = {f"{prefix}{part}net.weight": torch.ones(1)}
    assert part_weights(weights, "generator", "a.pt").keys() == {"net.weight"}


@pytest.mark.parametrize("content", [{}, {"epoch": 3, "note": "nothing"}])
def test_a_checkpoint_without_weights_is_named(content: dict) -> None:
    with pytest.raises(InputError, match=r"a\.pt: holds no network weights"):
        network_weights(content, "a.pt")


def test_weights_are_loaded_completely_or_not_at_all() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    weights = {
        "0.weight": torch.zeros(3, 2),
        "0.bias": torch.zeros(4),
        "1.weight": torch.zeros(1, 3),
        "2.w": before["1.bias"],
    }
    with pytest.raises(InputError) as caught:
        load_weights(network, weights, "other.pt")
    message = str(caught.value)
    assert message.startswith("other.pt: the weights are of another architecture")
    assert "1 missing: 1.bias" in message
    assert "1 unexpected: 2.w" in message
    assert "1 of another shape: 0.bias is (4,), expected (3,)" in message
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        (torch.complex64, "complex numbers, expected real ones"),
        (torch.int64, "1 of another type: weight is torch.int64"),
    ],
)
def test_weights_that_would_be_cast_without_a_word_are_refused(dtype: torch.dtype, message: str) -> None:
    network = nn.Linear(2, 3)
    weights = {**network.state_dict(), "weight": torch.ones(3, 2, dtype=dtype)}
    with pytest.raises(InputError, match=message):
        load_weights(network, weights, "a.pt")


def test_weights_of_another_precision_are_loaded() -> None:
    network = nn.Linear(2, 3)
    load_weights(network, {name: value.half() for name, value in network.state_dict().items()}, "a.pt")


def test_fitting_weights_are_loaded() -> None:
    network, other = nn.Linear(2, 3), nn.Linear(2, 3)
    load_weights(network, other.state_dict(), "a.pt")
    assert torch.equal(network.weight, other.weight)


def test_a_checkpoint_damaged_in_the_middle_is_found_by_its_checksum(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save({"network": {"weight": torch.arange(1000.0)}}, path)
    content = bytearray(path.read_bytes())
    position = content.find(torch.arange(500.0, 510.0).numpy().tobytes())
    content[position : position + 16] = bytes(16)
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        load_checkpoint(path)


def test_another_grid_is_worth_a_warning_only(caplog: pytest.LogCaptureFixture) -> None:
    trained = {"data": {"window": [-1000.0, 600.0], "spacing": None}}
    check_settings(trained, {"data": {"window": [-1000.0, 600.0], "spacing": [1.0, 1.0, 2.0]}}, ["data.window"], "a.pt")
    assert caplog.messages == ["a.pt: trained on another grid: data.spacing is [1.0, 1.0, 2.0], expected None"]


@pytest.mark.parametrize("trained", [{}, {"model": {"channels": [4, 8]}}])
def test_settings_that_a_checkpoint_does_not_know_are_not_compared(trained: dict) -> None:
    given = {"model": {"channels": [4, 8], "norm": "batch"}, "data": {"window": [0.0, 1.0], "spacing": None}}
    check_settings(trained, given, ["data.window", "model.channels", "model.norm"], "a.pt")


@pytest.mark.parametrize("content", [b"a", b"G1"], ids=["IndexError", "struct.error"])
def test_whatever_damaged_bytes_raise_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        load_checkpoint(tmp_path / "a.pt")


def _endless() -> list:
    content: list = []
    content.append(content)
    return content


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (5, "are a int, expected sections"),
        ({"model": [1]}, "of model aren't names with values"),
        ({"model": {"channels": _endless()}}, "nested too deeply"),
        ({"my": _endless()}, "nested too deeply"),
    ],
)
def test_settings_that_can_be_none_are_refused(settings: object, words: str, tmp_path: Path) -> None:
    torch.save({"network": {"weight": torch.zeros(1)}, "settings": settings}, tmp_path / "a.pt")
    with pytest.raises(InputError, match=words):
        load_checkpoint(tmp_path / "a.pt")
