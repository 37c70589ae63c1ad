"""Law 15, as a table: what a user may get wrong, which argument the error names, and words that it must have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import enodo
from enodo import EMBEDDING, INPUT, OUTPUT, Absence, Each, Point
from enodo.testing.models import MLP, Named, Text, seeded
from tests.zoo import Dense, Inner, Regression

x = torch.linspace(-1, 1, 12).view(2, 6).double()
ids = torch.tensor([[1, 2, 3], [4, 5, 0]])
nan = torch.full_like(x, float("nan"))


class Detached(nn.Module):
    """A model whose output has no derivative."""

    def forward(self, x: Tensor) -> Tensor:
        return x.detach().round()


class Root(nn.Module):
    """A score whose derivative is infinite at zero."""

    def forward(self, x: Tensor) -> Tensor:
        return x.abs().sqrt()


class Recomputing(nn.Module):
    """A model that keeps no activations for its backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.model = seeded(MLP())

    def forward(self, x: Tensor) -> Any:
        return checkpoint(self.model, x, use_reentrant=False)


class Idle(nn.Module):
    """A model with a layer that does not run."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.idle = nn.Linear(6, 3), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x)


class Unweighted:
    """A regressor that treats all neighbours alike."""

    def fit(self, X: Any, y: Any) -> None: ...


class Unfitted:
    """A regressor that is no linear model."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> None: ...


def poisoned() -> nn.Module:
    """An MLP with a NaN among its parameters."""
    model = seeded(MLP())
    nn.init.constant_(model.get_parameter("second.bias"), float("nan"))
    return model


mlp, named, text, dense = seeded(MLP()), seeded(Named()), seeded(Text()), seeded(Dense())
scalar, idle = seeded(Regression(False)), seeded(Idle())
pair = {"x": x[:, :3], "y": x[:, :2]}
uneven = {"x": x[:, :3], "y": x[:1, :2]}
root = Root().eval()
image = torch.ones(2, 2, 4, 4).double()
wide = {"model": torch.sum, "inputs": torch.ones(1, 20), "kwargs": {"dim": 1}, "target": None}


@dataclass(frozen=True)
class Bad:
    """A call of `explain` that is refused: `argument` is named first, `words` are all said."""

    what: str
    argument: str
    words: tuple[str, ...]
    given: dict[str, Any]
    kind: type[Exception] = enodo.BadArgument

    def __call__(self) -> Any:
        """Make the call."""
        late = self.given.get("wrt")
        given = self.given | {"wrt": late()} if callable(late) and not isinstance(late, nn.Module) else self.given
        return enodo.explain(**{"model": mlp, "inputs": x, "target": 1, **given})


def bad(what: str, argument: str, words: str, kind: type[Exception] = enodo.BadArgument, **given: Any) -> Bad:
    """A row of the table; `words` are separated by |."""
    return Bad(what, argument, tuple(words.split("|")), given, kind)


def _no_score(out: Tensor) -> Any:
    return "high"


def _one_number(out: Tensor) -> Tensor:
    return out.sum()


def _sums(q: enodo.Question) -> Any:
    return q.x.leaves[0].sum()


TYPE, PATH, NUMBER = enodo.BadType, enodo.NoPath, enodo.NotFinite
gs = "gradient_shap"
fa = "feature_ablation"

TABLE: list[Bad] = [
    # the target
    bad("none where there are several", "target", "(2, 4)|target=0|predicted", target=None),
    bad("out of range", "target", "index 4|(2, 4)|0 to 3", target=4),
    bad("far below the range", "target", "index -5|0 to 3", target=-5),
    bad("one of the rows' out of range", "target", "9|0 to 3", target=[1, 9]),
    bad("one too many", "target", "2 rows", target=[1, 2, 3]),
    bad("too many indices", "target", "2 dimensions|(2, 4)", target=(1, 2)),
    bad("too few indices", "target", "(1,)|3 dimensions|slices", model=dense, inputs=image, target=1),
    bad("an index where there is one score", "target", "(2,)|target=None", model=scalar, inputs=x[:, :4], target=1),
    bad("a float", "target", "1.5|int", TYPE, target=1.5),
    bad("float class numbers", "target", "float32|integer|long", TYPE, target=torch.tensor([1.0, 2.0])),
    bad("a name that is none", "target", "'best'|predicted|all", target="best"),
    bad("a mask of another shape", "target", "(9,)|(2, 4)", target=torch.ones(9, dtype=torch.bool)),
    bad("a model without an output", "target", "None|tensor", model=lambda x: None),
    bad("a model with one output for all rows", "target", "one score", model=lambda x: x.sum()),
    bad("a model with fewer rows out than in", "target", "(1,)|one score for each", model=lambda x: x[:1]),
    bad("a dict", "target", "{}|int", TYPE, target={}),
    bad("a callable without a tensor", "target", "'high'|tensor", TYPE, target=_no_score),
    bad("a callable with one score for all rows", "target", "()|(2,)", target=_one_number),
    bad("none of several", "target", "Each([])|at least one", target=Each([])),
    bad("the class of dense outputs", "target", "(2, 3, 4, 4)", model=dense, inputs=image, target="predicted"),
    bad("all of dense outputs", "target", "all|(2, 3, 4, 4)", model=dense, inputs=image, target="all"),
    # the baseline
    bad("of another shape", "baseline", "(5,)|(2, 6)", baseline=torch.zeros(5).double()),
    bad("of other rows", "baseline", "(3, 6)|(2, 6)", baseline=torch.zeros(3, 6).double()),
    bad("of another structure", "baseline", "['z']|['x', 'y']", model=named, inputs=pair, baseline={"z": 0}),
    bad("one tensor for several inputs", "baseline", "2 tensors", model=named, inputs=pair, baseline=x[:, :3]),
    bad("words", "baseline", "'black'|number", TYPE, baseline="black"),
    bad("truth values for numbers", "baseline", "bool|numbers", baseline=torch.zeros(2, 6, dtype=torch.bool)),
    bad("numbers for token ids", "baseline", "float|token id", model=text, inputs=ids, baseline=torch.rand(2, 3)),
    bad("ids that the embedding lacks", "baseline", "99|embedding of 9", model=text, inputs=ids, baseline=99),
    bad("an empty background", "baseline", "(0, 6)", method=gs, baseline=x[:0]),
    bad("an infinite number", "baseline", "not finite", NUMBER, baseline=float("inf")),
    bad("a truth", "baseline", "True|number", TYPE, baseline=True),
    bad("NaN", "baseline", "not finite", NUMBER, baseline=nan),
    bad("a background of other columns", "baseline", "(9, 5)|(6,)", method=gs, baseline=torch.zeros(9, 5).double()),
    # the inputs
    bad("rows without values", "inputs", ", 0)|at least one value", inputs=x[:, :0]),
    bad("an empty batch", "inputs", "(0, 6)|at least one row", inputs=x[:0]),
    bad("no rows", "inputs", "dimension|x[None]", inputs=torch.tensor(1.0)),
    bad("no tensor", "inputs", "'a photo'|tensor", TYPE, inputs="a photo"),
    bad("nothing", "inputs", "None|tensor", TYPE, inputs=None),
    bad("rows that differ", "inputs", "['x'] with 2|['y'] with 1|rows", model=named, inputs=uneven),
    bad("a ragged list", "inputs", "numbers", TYPE, inputs=[[1.0, 2.0], [3.0]]),
    bad("integers that meet no embedding", "inputs", "int64|no embedding|float()", inputs=x.long(), model=root),
    bad("sparse numbers", "inputs", "sparse_coo|to_dense()", inputs=x.to_sparse()),
    bad("true and false", "inputs", "bool|float()", inputs=x > 0),
    bad("words for numbers", "inputs", "'a'|tensor", TYPE, inputs=["a", "b"]),
    bad("an empty tuple", "inputs", "()|tensor", TYPE, inputs=()),
    bad("ids that the embedding lacks", "inputs", "4 to 9|embedding of 9|0 to 8", model=text, inputs=ids[1:] + 4),
    bad("NaN among the numbers", "inputs", "NaN", NUMBER, inputs=nan),
    bad("an infinite derivative", "inputs", "gradient is finite", NUMBER, model=root, inputs=0 * x, method="gradient"),
    # the model
    bad("none", "model", "3|callable", TYPE, model=3),
    bad("NaN among its parameters", "model", "second.bias|NaN", NUMBER, model=poisoned()),
    bad("no path to the score", "wrt", "no gradient|detach", PATH, model=Detached().eval(), method="gradient"),

    bad("a layer of one that recomputes", "model", "checkpoint|Turn", model=Recomputing().eval(), wrt="model.act"),
    bad("a layer of a traced model", "wrt", "TracedModule|TorchScript", model=torch.jit.trace(mlp, x), wrt="first"),
    bad("a layer that does not run", "wrt", "idle|0 times|runs", model=idle, wrt="idle"),
    # places
    bad("an unknown layer", "wrt", "'frist'|'first'", wrt="frist"),
    bad("an unknown layer as the end", "of", "'secnd'|'second'", of="secnd"),
    bad("a module of another model", "wrt", "Inner|0 times|runs", wrt=Inner()),
    bad("a layer of a function", "wrt", "'first'|plain function", model=torch.tanh, wrt="first"),
    bad("a spelling that is none", "wrt", "'first::in'", wrt="first::in"),
    bad("a side that is none", "side", "'inside'|'in'", wrt="first:inside"),
    bad("a layer by number", "layer", "3|name", TYPE, wrt=lambda: Point(3)),
    bad("a number", "wrt", "3|layer", TYPE, wrt=3),
    bad("no place", "wrt", "empty", wrt=[]),
    bad("a place twice", "wrt", "first and first@-1|each place once", wrt=["first", "second", "first@-1"]),
    bad("a place and the same by its call", "wrt", "first and first@0|each place once", wrt=["first", "first@0"]),
    bad("a place within another", "wrt", "INPUT|each place once", model=named, inputs=pair, wrt=[INPUT, INPUT["x"]]),
    bad("the output as what is explained by", "wrt", "OUTPUT|of", wrt=OUTPUT),
    bad("the inputs as what is explained", "of", "INPUT", of=INPUT),
    bad("vectors of inputs that are no ids", "wrt", "EMBEDDING|ids", wrt=EMBEDDING),
    bad("a call that is not made", "wrt", "first@3|0 to 0", wrt="first@3"),
    bad("a part that is not there", "wrt", "[7]['a']|float64 tensor", wrt=Point("first")[7]["a"]),
    bad("an entry that the inputs lack", "wrt", "'z'", model=named, inputs=pair, wrt=INPUT["z"]),
    bad("a layer after the neuron", "wrt", "no gradient", PATH, wrt="second", of="first"),
    # options
    bad("an unknown method", "method", "'integratd_gradients'|'integrated_gradients'", method="integratd_gradients"),
    bad("a method that is none", "method", "7", TYPE, method=7),
    bad("a method that returns a tensor", "method", "_sums|Values", TYPE, method=_sums),
    bad("a misspelt option", "options", "'step'|'steps'", TYPE, step=3),
    bad("no steps", "steps", "0|at least 1", steps=0),
    bad("half a step", "steps", "2.5|whole", TYPE, steps=2.5),
    bad("an unknown quadrature", "quadrature", "'gaus'|gausslegendre", quadrature="gaus"),
    bad("a tolerance of nothing", "tol", "0|positive", TYPE, tol=0),
    bad("a number in quotes", "steps", "'5'|a whole number|without quotes", TYPE, steps="5"),
    bad("a rule in a list", "rule", "['rescale']|text", TYPE, method="deeplift", rule=["rescale"]),
    bad("a yes for a number", "steps", "True|a whole number", TYPE, steps=True),
    bad("a tolerance in quotes", "tol", "'0.1'|a number or None", TYPE, tol="0.1"),
    bad("no samples", "samples", "0|at least 1", method=gs, samples=0),
    bad("negative noise", "noise", "-1|0 or more", method="smoothgrad", noise=-1.0),
    bad("infinite noise", "noise", "inf|finite", method="smoothgrad", noise=float("inf")),
    bad("noise for more inputs than there are", "noise", "1 tensors", method="smoothgrad", noise=[0.1, 0.2]),
    bad("too few steps to settle", "max_steps", "3|at least 15", tol=0.1, max_steps=3),
    bad("an unknown inner method", "inner", "'gradent'|'gradient'", method="smoothgrad", inner="gradent"),
    bad("too many coalitions", "features", "20 features|at most 16|kernel_shap", method="exact_shapley", **wide),
    bad("no evaluations", "max_evaluations", "0|at least 2", method="kernel_shap", max_evaluations=0),
    bad("half an evaluation", "max_evaluations", "2.5|whole", TYPE, method="banzhaf", max_evaluations=2.5),
    bad("too few for one order", "max_evaluations", "9 for 20|at least 38", method="owen", max_evaluations=9, **wide),
    bad("too few for indices", "max_evaluations", "9 for 6|at least 16", method="sobol", max_evaluations=9),
    bad("no orders", "permutations", "0|at least 1", method="shapley_sampling", permutations=0),
    bad("a tolerance where all is exact", "tol", "nan|positive", TYPE, method="kernel_shap", tol=float("nan")),
    bad("a tolerance of samples", "tol", "-1|positive", TYPE, method="kernel_shap", tol=-1, max_evaluations=9),
    bad("a tree without a feature", "groups", "[0, 1]|0 to 5", method="owen", groups=[[0], [1]]),
    bad("groups of other features", "groups", "6 features", TYPE, method="owen", groups=[0, 1, 1]),
    bad("an unknown likeness", "similarity", "'near'|cosine", method="lime", similarity="near"),
    bad("a width of nothing", "width", "0|positive", TYPE, method="lime", width=0),
    bad("a regressor without weights", "regressor", "sample_weight", TYPE, method="lime", regressor=Unweighted()),
    bad("a regressor without slopes", "regressor", "0 numbers|6 features", method="lime", regressor=Unfitted()),
    bad("an unknown regressor", "regressor", "'tree'|lasso", method="lime", regressor="tree"),
    bad("a negative penalty", "penalty", "-1|from 0", method="lime", penalty=-1),
    bad("coalitions of other features", "coalitions", "(3, 2)|(k, 6)", method="lime", coalitions=torch.ones(3, 2)),
    bad("a certain share", "share", "1|between", method="rise", share=1),
    bad("no cells", "cells", "0|at least 1", method="rise", cells=0),

    bad("a batch of nothing", "batch_size", "0|positive", batch_size=0),
    bad("a batch of words", "batch_size", "'all'|auto", TYPE, batch_size="all"),
    bad("half a row", "batch_size", "1.5|auto", TYPE, batch_size=1.5),
    bad("progress to nobody", "progress", "'yes'|function", TYPE, progress="yes"),
    bad("complex scores", "target", "complex|out.abs()", model=lambda t: torch.complex(t, t), method=fa),
    bad("keyword arguments without names", "kwargs", "3|mapping", TYPE, kwargs=3),
    bad("a negative seed", "seed", "-1|from 0", TYPE, seed=-1),

    bad("an unknown rule", "rule", "'rescaled'|'rescale'", method="deeplift", rule="rescaled"),
    bad("a rule that is none", "rule", "3|'reveal_cancel'", method="deeplift_shap", rule=3),
    bad("an unknown composite", "composite", "'epsilon_pls'|'epsilon_plus'", method="lrp", composite="epsilon_pls"),
    bad("a composite that is none", "composite", "3|name", method="lrp", composite=3),
    bad("a negative epsilon", "epsilon", "-1|0 or more", TYPE, method="lrp", epsilon=-1),
    bad("an infinite gamma", "gamma", "inf|0 or more", TYPE, method="lrp", gamma=float("inf")),
    bad("a box without bounds", "box", "None|(low, high)", method="lrp", composite="epsilon_gamma_box"),
    bad("a box of one bound", "box", "0|(low, high)", method="lrp", composite="epsilon_gamma_box", box=0),
    bad("a box too small", "box", "from -1 to|lowest", method="lrp", composite="epsilon_gamma_box", box=(0, 0)),
    bad("rules for nothing", "rules", "'gamma'|mapping", TYPE, method="lrp", rules="gamma"),
    bad("a rule by name", "rules", "'gamma'|lrp.gamma()", TYPE, method="lrp", rules={"first": "gamma"}),
    bad("rules for unknown modules", "rules", "'fist.*'|no module", method="lrp", rules={"fist.*": abs}),
    bad("a balance of several targets", "balance", "one target", method="lrp", target="all", balance=True),
    bad("neurons of no layer", "options", "neuron_conductance|'through'", method="neuron_conductance"),
    bad("neurons of an unknown layer", "through", "'frist'|'first'", method="neuron_conductance", through="frist"),
    bad("a neuron out of range", "neuron", "99|0 to 6", method="neuron_conductance", through="first", neuron=99),

    bad("a mask of floats", "features", "float32|whole numbers", TYPE, method=fa, features=torch.zeros(6)),
    bad("a mask that names no feature", "features", "-92233|other", method=fa, features=torch.full((6,), -(2**63))),
    bad("a mask of another shape", "features", "(5,)|(2, 6)", method=fa, features=torch.arange(5)),
    bad("no blocks", "features", "0|at least 1", method=fa, features=0),
    bad("features in words", "features", "words|mask", TYPE, method=fa, features="words"),
    bad("a window larger than the inputs", "shape", "(7,)|(6,)", method="occlusion", window=(7,)),
    bad("strides beyond the window", "strides", "(3,)|(2,)", method="occlusion", window=(2,), strides=3),
    bad("one row to be permuted", "inputs", "1 row|2 rows", method="feature_permutation", inputs=x[:1]),
    bad("more sets than allowed", "size", "at most 9|max_evaluations=41", method="k_out", size=3, max_evaluations=9),
    bad("a blur of a table", "baseline", "(2, 6)|Absence.mean", method=fa, baseline=Absence.blurred()),
    bad("a mean of ids", "baseline", "int64|floating", method=fa, model=text, inputs=ids, baseline=Absence.mean()),
    bad("tokens taken out of numbers", "baseline", "token ids", method=fa, baseline=Absence.dropped()),
    bad("a way of painting, for gradients", "baseline", "painted|.mean", baseline=Absence.painted(torch.where)),
    bad("a background, for gradients", "baseline", "background|.mean", baseline=Absence.background(x)),
]  # fmt: skip


def complaint(row: Bad) -> str:
    """What is wrong with the error that a row of the table meets; empty where nothing is."""
    try:
        answer = row()
    except enodo.BadArgument as error:
        text = str(error)
        missing = [w for w in row.words if w not in text]
        if not isinstance(error, row.kind):
            return f"{type(error).__name__} instead of {row.kind.__name__}: {text}"
        if row.argument not in text.split(":", maxsplit=1)[0]:
            return f"does not begin with {row.argument!r}: {text}"
        return f"does not say {missing}: {text}" if missing else ""
    except Exception as error:  # noqa: BLE001  any other error is what the table is against
        return f"raised {type(error).__name__}: {error}"
    return f"answered {answer}"
