"""LIME: a linear model fitted to the score around an input."""

from __future__ import annotations

import copy
import inspect
import math
from typing import Any

import torch
from torch import Tensor

from enodo.core.errors import BadType, refuse
from enodo.core.game import Game
from enodo.core.question import Question
from enodo.core.registry import method
from enodo.core.streams import Streams
from enodo.core.values import Values
from enodo.methods.shapley.believed import believed
from enodo.methods.shapley.every import check_evaluations, fits, lifted, several, subsets
from enodo.methods.shapley.found import Found, answer
from enodo.methods.shapley.methods import EVALUATIONS, FIRST
from enodo.methods.shapley.sampling import sample

from .linear import Fit, Moments, lasso, ridge, times
from .neighbours import Draw, Similarity

PENALISED = {"lasso": lasso, "ridge": ridge}


@method(
    "lime",
    title="LIME",
    paper="Ribeiro et al. 2016, arXiv:1602.04938, equation 1",
    when="A short list of the features that matter around an input, with how well a linear model fits there.",
    needs="score absence",
    wants=several,
)
def lime(
    q: Question,
    *,
    features: Any = None,
    max_evaluations: int = EVALUATIONS,
    similarity: Any = "euclidean",
    width: float | None = None,
    regressor: Any = "lasso",
    penalty: float = 0.01,
    coalitions: Any = None,
    tol: float | None = None,
) -> Values:
    """The slopes of a sparse linear model of the score, fitted to coalitions of features, weighted by nearness.

    Minimises 1/2 of the weighted mean of (f(z) - a z - c)^2 + penalty sum |a|, in units of the score; regressor="ridge"
    has half of sum a^2 instead, and an object with scikit-learn's `fit(X, y, sample_weight)` and `coef_` takes the
    place of both. `similarity` and `width` are explained at `surrogate.neighbours.Similarity`, `coalitions` at `Draw`.
    `details` has the slopes ("features", (B, n)), "intercept" and "fit", the weighted R^2, both (B,). Standard errors
    are those of the slopes without a penalty (of fewer than two samples a feature: with it); there is none where all
    coalitions are evaluated. Of fewer samples than features several models may fit as well, and rounding picks one.
    """
    check_evaluations(max_evaluations, tol)
    near, draw = Similarity(similarity, width), Draw(coalitions)
    if isinstance(regressor, str) and regressor not in PENALISED:
        refuse("regressor", repr(regressor), '"lasso", "ridge" or an object with fit(X, y, sample_weight)')
    if not isinstance(regressor, str) and not _weighs(getattr(regressor, "fit", None)):
        refuse("regressor", regressor, '"lasso", "ridge" or an object with fit(X, y, sample_weight)', kind=BadType)
    if isinstance(penalty, bool) or not isinstance(penalty, (int, float)):
        refuse("penalty", penalty, "a number from 0", kind=BadType)
    if not 0 <= penalty < float("inf"):
        refuse("penalty", penalty, "a number from 0")

    def solve(q: Question, game: Game) -> Found:
        surrogate = Surrogate(game, near, regressor, penalty)
        if coalitions is not None:
            surrogate.meet(draw.given(game))
        elif fits(game.n, max_evaluations):
            surrogate.meet(subsets(0, 2**game.n, game.n)[:, None], sampled=False)
        else:
            return sample(q, features, surrogate, max_evaluations, tol, max(2 * game.n, FIRST))
        values, stderr = surrogate.answer()
        return Found(values, stderr, None if tol is None else values.new_zeros(values.shape[:2]), surrogate.details)

    return answer(q, features, solve)


def _weighs(fit: Any) -> bool:
    """Whether a regressor can be told how much each neighbour counts."""
    if not callable(fit):
        return False
    known = inspect.signature(fit).parameters
    return "sample_weight" in known or any(p.kind is p.VAR_KEYWORD for p in known.values())


class Surrogate:
    """A linear model of the score on the coalitions met so far."""

    cost = 1
    freedom = math.inf

    def __init__(
        self, game: Game, near: Similarity, regressor: Any, penalty: float, streams: Streams | None = None
    ) -> None:
        self.game, self.near, self.regressor, self.penalty = game, near, regressor, penalty
        self._streams = streams
        self.sampled = True
        self.met: list[tuple[Tensor, Tensor, Tensor]] = []  # coalitions (B, k, n), scores (T, B, k), weights (B, k)
        self.details: dict[str, Tensor] = {}

    @property
    def streams(self) -> Streams:
        """Where coalitions are drawn from."""
        if self._streams is None:
            self._streams = self.game.q.streams
        return self._streams

    def more(self, units: int) -> None:
        """Draw and evaluate this many coalitions more."""
        self.meet((self.streams.uniforms(units, self.game.n) < 0.5).movedim(0, 1))

    def meet(self, z: Tensor, sampled: bool = True) -> None:
        """Evaluate coalitions (k, 1 or B, n)."""
        self.sampled = sampled
        rows = self.game.q.rows
        v = lifted(self.game.play(z[:, 0] if z.shape[1] == 1 else z))
        weights = self.near.weights(self.game, z).to(v.device)
        self.met.append((z.to(v.device, v.dtype).expand(-1, rows, -1).movedim(0, 1), v.movedim(0, -1), weights))

    def answer(self) -> tuple[Tensor, Tensor]:
        """Slopes and their standard errors, (T, B, n); `details` are of this fit."""
        z, y, w = (torch.cat(parts, -2 if i == 0 else -1) for i, parts in enumerate(zip(*self.met, strict=True)))
        moments = Moments.of(z, y, w)
        if isinstance(self.regressor, str):
            slopes = PENALISED[self.regressor](moments, self.penalty)
            intercept = moments.intercept(slopes)
        else:
            slopes, intercept = self._fitted(z, y, w)
        fit = Fit.of(moments, slopes, intercept)
        self.details = {"intercept": fit.intercept, "fit": fit.quality}
        return slopes, self._errors(moments, slopes) if self.sampled else torch.zeros_like(slopes)

    def _errors(self, moments: Moments, slopes: Tensor) -> Tensor:
        """Standard errors of the slopes.

        Slopes of about as many samples as unknowns go astray, and leave no residuals that would tell. So they are
        compared with values that are believed to be no larger than the scores say. From twice as many samples on the
        residuals tell, of slopes without a penalty (White 1980, HC3).
        """
        samples, unknowns = moments.centred.shape[1], moments.centred.shape[2] + 1
        measured = min(max(samples / unknowns - 1, 0), 1) ** 2
        spread = moments.free.new_zeros(()) if not measured else self._residual(moments)
        if measured < 1:
            root = moments.share.sqrt()
            rows, right = moments.centred * root[..., None], (moments.apart * root).movedim(1, 0)
            near, unsure = (t.movedim(1, 0) for t in believed(rows, right, False, 0.0))
            spread = (unsure.square() + (slopes - near).square()).sqrt().lerp(spread, measured)
        return spread

    def _residual(self, moments: Moments) -> Tensor:
        """Standard errors of slopes without a penalty, each sample being off by its own amount."""
        pull = (moments.centred @ moments.inverted) * moments.share[..., None]
        own = (pull * moments.centred).sum(-1) + moments.share
        rest = moments.apart - times(moments.free, moments.centred.mT)
        rest = rest / (1 - own).clamp(min=1e-3)
        return times(rest.square(), pull.square()).sqrt()

    def _fitted(self, z: Tensor, y: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        """Slopes and intercept of a regressor of the user's, a copy for each row and target."""
        slopes, intercept = z.new_zeros(*y.shape[:2], z.shape[-1]), z.new_zeros(y.shape[:2])
        for b, (x, weights) in enumerate(zip(z.cpu().numpy(), w.cpu().numpy(), strict=True)):
            for t in range(len(y)):
                model = copy.deepcopy(self.regressor)
                model.fit(x, y[t, b].cpu().numpy(), sample_weight=weights)
                found = torch.as_tensor(getattr(model, "coef_", ())).reshape(-1)
                if found.numel() != z.shape[-1]:
                    given = f"one whose coef_ has {found.numel()} numbers"
                    refuse("regressor", given, f"a linear model of {z.shape[-1]} features")
                slopes[t, b] = found.to(slopes)
                intercept[t, b] = float(torch.as_tensor(getattr(model, "intercept_", 0.0)).reshape(-1)[0])
        return slopes, intercept

    def keep(self, game: Game, rows: Tensor) -> Surrogate:
        """The same for some of the rows."""
        some = Surrogate(game, self.near, self.regressor, self.penalty, self.streams.take(rows))
        some.met = [(z[rows], y[:, rows], w[rows]) for z, y, w in self.met]
        return some
