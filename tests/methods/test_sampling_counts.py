"""What `max_evaluations` counts, by counting the rows that a model is given."""

from __future__ import annotations

import pytest

from tests.methods.games import ask, smooth_game


@pytest.mark.parametrize("method", ["kernel_shap", "banzhaf", "shapley_sampling"])
def test_no_more_evaluations_than_allowed(method: str) -> None:
    model = smooth_game(12)
    for most in (100, 333):
        assert ask(model, 12, method, target=0, max_evaluations=most).rows <= most + 2  # all present, none present
