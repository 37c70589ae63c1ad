"""The laws where features are too many for the budget, so that methods sample; and with a tolerance."""

from __future__ import annotations

from typing import Any

import pytest

from enodo.testing import LAWS
from tests.laws.ask import case_of, trial

pytestmark = pytest.mark.filterwarnings("ignore")
SAMPLED: dict[str, dict[str, Any]] = {
    "kernel_shap": {"features": 6, "max_evaluations": 40},
    "shapley_sampling": {"features": 6, "max_evaluations": 30},
    "banzhaf": {"features": 6, "max_evaluations": 40},
    "owen": {"features": 6, "max_evaluations": 30, "groups": [0, 0, 0, 0, 0, 1]},
    "shapley_interactions": {"features": 6, "max_evaluations": 40},
    "lime": {"features": 6, "max_evaluations": 40},
    "rise": {"features": None, "max_evaluations": 40},  # smooth on pictures
    "sobol": {"features": 6, "max_evaluations": 40},
}
ASKED = ("rows", "chunks", "targets", "randomness", "memory", "threads", "structure", "callers")


@pytest.mark.parametrize("law", ASKED)
@pytest.mark.parametrize("method", SAMPLED)
@pytest.mark.parametrize("case", ["cnn", "mlp"])
def test_the_laws_hold_where_methods_sample(law: str, method: str, case: str) -> None:
    LAWS[law](trial(method, case_of(case), **SAMPLED[method]))


@pytest.mark.parametrize("law", ["rows", "chunks", "targets"])
@pytest.mark.parametrize("method", SAMPLED)
def test_and_with_a_tolerance(law: str, method: str) -> None:
    LAWS[law](trial(method, case_of("cnn"), **SAMPLED[method] | {"tol": 0.2, "max_evaluations": 60}))
