"""How many processes load data, where nothing is said."""

from __future__ import annotations

import pytest
import torch

from ncct_cta.train import loading_processes as module
from ncct_cta.train.loading_processes import loading_processes

CPU, GPU = torch.device("cpu"), torch.device("cuda", 1)


@pytest.mark.parametrize(
    ("wanted", "device", "cores", "processes", "expected"),
    [
        (None, CPU, 32, 1, 0),
        (None, GPU, 32, 1, 4),
        (None, GPU, 3, 1, 3),
        (None, GPU, 16, 8, 2),
        (None, GPU, 4, 8, 0),
        (7, CPU, 4, 1, 7),
        (0, GPU, 32, 1, 0),
    ],
)
def test_a_gpu_has_processes_that_load_for_it(monkeypatch, wanted, device, cores, processes, expected):
    monkeypatch.setattr(module, "usable_cores", lambda: cores)
    monkeypatch.setattr(module.idist, "get_nproc_per_node", lambda: processes)
    assert loading_processes(wanted, device) == expected
