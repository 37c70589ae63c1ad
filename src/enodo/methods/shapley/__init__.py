"""Shapley values and their kin: values of features in the game of which features are present (`enodo.core.game`)."""

from .interactions import shapley_interactions
from .methods import banzhaf, exact_shapley, kernel_shap, shapley_sampling
from .partition import owen

__all__ = ["banzhaf", "exact_shapley", "kernel_shap", "owen", "shapley_interactions", "shapley_sampling"]
