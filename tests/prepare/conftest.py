"""One server of processes for all tests: whichever test started it first would decide what it has imported."""

from __future__ import annotations

import multiprocessing
from multiprocessing import forkserver

import pytest


@pytest.fixture(scope="session", autouse=True)
def _workers_have_imported() -> None:
    if "forkserver" in multiprocessing.get_all_start_methods():
        forkserver.set_forkserver_preload(["ncct_cta.prepare.pairs.one_pair"])
        forkserver.ensure_running()
