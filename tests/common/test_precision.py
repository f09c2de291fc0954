"""Which mixed precision a device gets."""

from __future__ import annotations

import pytest
import torch

from ncct_cta.common.errors import InputError
from ncct_cta.common.precision import resolve_amp

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("tiles", "vectors", "expected"),
    [(False, False, "off"), (True, False, "bf16"), (False, True, "bf16")],
    ids=["neither", "AMX", "AVX512_BF16"],
)
def test_auto_is_bf16_on_a_cpu_that_computes_in_it(monkeypatch, tiles, vectors, expected):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: tiles)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: vectors)
    assert resolve_amp("auto", CPU) == expected
    assert [resolve_amp(amp, CPU) for amp in ("off", "bf16", "")] == ["off", "bf16", ""]


@pytest.mark.parametrize(("capability", "expected"), [((9, 0), "bf16"), ((8, 0), "bf16"), ((7, 5), "off")])
def test_auto_is_bf16_on_a_gpu_that_does_not_emulate_it(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert resolve_amp("auto", CUDA) == expected
    assert resolve_amp("fp16", CUDA) == "fp16"


def test_auto_is_off_on_other_devices():
    assert resolve_amp("auto", torch.device("mps")) == "off"


def test_fp16_is_refused_where_it_is_no_use():
    with pytest.raises(InputError, match="amp is fp16 on cpu, which needs a CUDA device; use bf16 or off"):
        resolve_amp("fp16", CPU)
