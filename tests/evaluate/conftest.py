from __future__ import annotations

from pathlib import Path

import pytest
from made_evaluation import SHARES, evaluation_of, predict

from ncct_cta.data import Case, read_case_list
from ncct_cta.evaluate.results import Evaluation


@pytest.fixture(scope="session")
def cases(cohort: Path) -> list[Case]:
    """The four phantoms of the tests' cohort."""
    return [case for split in read_case_list(cohort).values() for case in split]


@pytest.fixture(scope="session")
def evaluation(cases: list[Case], tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """Four cases; identity, HU remap and two methods."""
    folder = tmp_path_factory.mktemp("predictions")
    predictions = {name: predict(cases, name, share, folder) for name, share in SHARES.items()}
    return evaluation_of(cases, predictions, remarks=("Four phantoms: too few to conclude.",))
