"""Every rule integrates what it promises to, the nested family nests, and node placement keeps the integral."""

from __future__ import annotations

import math
import timeit
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enodo.core import quadrature
from enodo.core.errors import BadArgument, BadType

EXACT = {  # the highest polynomial degree that n nodes integrate exactly
    "gausslegendre": lambda n: 2 * n - 1,
    "fejer": lambda n: n if n % 2 else n - 1,
    "riemann_left": lambda n: 0,
    "riemann_right": lambda n: 0,
    "riemann_middle": lambda n: 1,
    "riemann_trapezoid": lambda n: 1,
}
names = st.sampled_from(sorted(quadrature.RULES))


def integral(degree: int, nodes: np.ndarray, weights: np.ndarray) -> float:
    """The rule's value of the shifted Legendre polynomial of that degree: 1 for degree 0, else exactly 0."""
    return math.fsum(weights * np.polynomial.legendre.Legendre.basis(degree, domain=[0, 1])(nodes))


def test_every_rule_has_a_stated_degree():
    assert set(EXACT) == set(quadrature.RULES)


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 15, 50])
def test_exact_up_to_its_degree_and_no_further(name, n):
    nodes, weights = quadrature.rule(name, n)
    degree = EXACT[name](n)
    for d in range(1, degree + 1):
        assert abs(integral(d, nodes, weights)) < 1e-13, d
    symmetric_single_node = n == 1 and name not in ("riemann_left", "riemann_right")
    first_failure = 2 if symmetric_single_node else degree + 1
    assert abs(integral(first_failure, nodes, weights)) > 1e-6


@given(names, st.integers(1, 200))
def test_nodes_ascend_in_the_unit_interval_and_weights_are_an_average(name, n):
    nodes, weights = quadrature.rule(name, n)
    assert nodes.shape == weights.shape == (n,)
    assert nodes.dtype == weights.dtype == np.float64
    assert nodes.min() >= 0
    assert nodes.max() <= 1
    assert (np.diff(nodes) > 0).all()
    assert (weights > 0).all()
    assert math.fsum(weights) == pytest.approx(1, abs=1e-14)


@given(st.sampled_from(["gausslegendre", "fejer", "riemann_middle", "riemann_trapezoid"]), st.integers(1, 100))
def test_symmetric_rules_are_symmetric(name, n):
    nodes, weights = quadrature.rule(name, n)
    np.testing.assert_allclose(nodes + nodes[::-1], 1, atol=1e-15)
    np.testing.assert_allclose(weights, weights[::-1], rtol=1e-11)


def test_closed_forms():
    root = math.sqrt(0.6) / 2
    expected = {
        ("gausslegendre", 1): ([0.5], [1]),
        ("gausslegendre", 3): ([0.5 - root, 0.5, 0.5 + root], [5 / 18, 8 / 18, 5 / 18]),
        ("fejer", 1): ([0.5], [1]),
        ("fejer", 2): ([0.25, 0.75], [0.5, 0.5]),
        ("fejer", 3): ([0.5 - math.sqrt(0.125), 0.5, 0.5 + math.sqrt(0.125)], [1 / 3, 1 / 3, 1 / 3]),
        ("riemann_left", 2): ([0, 0.5], [0.5, 0.5]),
        ("riemann_right", 2): ([0.5, 1], [0.5, 0.5]),
        ("riemann_middle", 2): ([0.25, 0.75], [0.5, 0.5]),
        ("riemann_trapezoid", 1): ([0.5], [1]),
        ("riemann_trapezoid", 2): ([0, 1], [0.5, 0.5]),
        ("riemann_trapezoid", 3): ([0, 0.5, 1], [0.25, 0.5, 0.25]),
    }
    for (name, n), (nodes, weights) in expected.items():
        np.testing.assert_allclose(quadrature.rule(name, n), (nodes, weights), atol=1e-15, err_msg=f"{name} {n}")


@pytest.mark.parametrize("n", [2, 3, 5, 20, 50])
@pytest.mark.parametrize("name", [name for name in EXACT if name != "fejer"])
def test_captum_places_its_nodes_there(name, n):
    methods = pytest.importorskip("captum.attr._utils.approximation_methods")
    steps, alphas = methods.approximation_parameters(name)
    nodes, weights = quadrature.rule(name, n)
    np.testing.assert_allclose(nodes, alphas(n), atol=1e-7)  # Captum's Riemann nodes are rounded to float32
    scale = n / (n - 1) if name == "riemann_trapezoid" else 1  # its trapezoid weights sum to (n - 1) / n
    np.testing.assert_allclose(weights, np.array(steps(n)) * scale, rtol=1e-12)


@pytest.mark.parametrize("level", range(1, 13))
def test_levels_nest_to_the_last_bit_and_keep_off_the_ends(level):
    nodes, weights = quadrature.nested(level)
    assert len(nodes) == 2**level - 1
    assert 0 < nodes[0] < nodes[-1] < 1 or level == 1
    assert weights.min() > 0
    assert math.fsum(weights) == pytest.approx(1, abs=1e-14)
    if level > 1:
        assert (nodes[1::2] == quadrature.nested(level - 1)[0]).all()


def test_nested_levels_converge_geometrically_on_an_analytic_path():
    # Positive weights exact to degree n err by at most twice the best polynomial's error, 2 M r^-n / (r - 1), where M
    # bounds f on the Bernstein ellipse of parameter r (Trefethen, SIAM Review 50, 2008, section 4).
    r = 2.2
    largest = 1 / (0.2 + (1 - (r + 1 / r) / 2) / 2)
    for level in range(1, 7):
        error = abs(nodes_mean(quadrature.nested(level), lambda a: 1 / (0.2 + a)) - math.log(6))
        assert error < 4 * largest * r ** -(2**level - 1) / (r - 1) + 2e-15, level


def nodes_mean(rule, f) -> float:
    return math.fsum(rule[1] * f(rule[0]))


@given(names, st.integers(1, 64), st.floats(-20, 20))
def test_saturation_keeps_a_linear_score_exact(name, n, c):
    nodes, weights = quadrature.saturating(*quadrature.rule(name, n), c)
    assert math.fsum(weights) == pytest.approx(1, abs=1e-14)
    assert (weights > 0).all()
    assert nodes.min() >= 0
    assert nodes.max() <= 1 + 1e-15
    assert (np.diff(nodes) >= 0).all()


@pytest.mark.parametrize("c", [-6, -2, 1e-9, 2, 4, 6])
@pytest.mark.parametrize("name", ["gausslegendre", "fejer"])
def test_saturation_follows_its_formula_and_keeps_the_integral(name, c):
    u, weights = quadrature.rule(name, 41)
    nodes, placed = quadrature.saturating(u, weights, c)
    np.testing.assert_allclose(nodes, np.expm1(c * u) / np.expm1(c), rtol=1e-12)
    np.testing.assert_allclose(placed, weights * c * np.exp(c * u) / np.expm1(c), rtol=1e-12)
    assert nodes_mean((nodes, placed), np.cos) == pytest.approx(math.sin(1), abs=1e-12)


def test_saturation_pays_on_a_saturating_path():
    def slope(a: np.ndarray) -> np.ndarray:  # of a score a / (a + 0.02): steep near the baseline, then flat
        return 0.02 / (a + 0.02) ** 2

    plain, placed = (abs(nodes_mean(quadrature.saturating(*quadrature.nested(4), c), slope) * 1.02 - 1) for c in (0, 4))
    assert placed < plain / 20


def test_no_saturation_is_no_change():
    nodes, weights = quadrature.rule("fejer", 7)
    same = quadrature.saturating(nodes, weights, 0)
    assert same[0] is nodes
    assert same[1] is weights


@pytest.mark.parametrize(
    ("name", "n", "kind", "words"),
    [
        ("gauss", 5, BadArgument, ("quadrature", "'gauss'", "gausslegendre")),
        ("riemann", 5, BadArgument, ("quadrature", "riemann_left")),
        (None, 5, BadType, ("quadrature", "gausslegendre")),
        ("fejer", 0, BadArgument, ("steps", "0", "positive int")),
        ("fejer", -3, BadArgument, ("steps", "-3", "positive int")),
        ("fejer", 5.0, BadType, ("steps", "5.0", "positive int")),
        ("fejer", True, BadType, ("steps", "True", "positive int")),
        ("fejer", [5], BadType, ("steps", "[5]", "positive int")),
    ],
)
def test_bad_rules_are_refused(name, n, kind, words):
    with pytest.raises(kind) as refused:
        quadrature.rule(name, n)
    for word in words:
        assert word in str(refused.value)


@pytest.mark.parametrize("level", [0, -1, 17, 2.0, True])
def test_bad_levels_are_refused(level):
    with pytest.raises(BadArgument, match="level"):
        quadrature.nested(level)


@pytest.mark.parametrize("c", ["2", None, True, math.nan, math.inf, 101])
def test_bad_saturations_are_refused(c):
    with pytest.raises(BadArgument, match="saturation"):
        quadrature.saturating(*quadrature.nested(3), c)


def test_thousands_of_gauss_nodes_take_room_for_as_many_numbers():
    """Of 5,000 nodes a matrix would be 200 MB; they integrate what polynomials of degree 50 do not."""
    tracemalloc.start()
    try:
        nodes, weights = quadrature.rule("gausslegendre", 5000)
        assert tracemalloc.get_traced_memory()[1] < 2e6
    finally:
        tracemalloc.stop()
    assert (np.diff(nodes) > 0).all()
    np.testing.assert_allclose(nodes + nodes[::-1], 1, atol=3e-16)
    assert nodes_mean((nodes, weights), lambda a: np.cos(3000 * a)) == pytest.approx(math.sin(3000) / 3000, abs=1e-14)


def test_a_rule_is_made_once_and_cannot_be_spoilt():
    nodes, weights = quadrature.rule("gausslegendre", 50)
    assert quadrature.rule("gausslegendre", np.int64(50))[0] is nodes
    with pytest.raises(ValueError, match="read-only"):
        nodes[0] = 7
    with pytest.raises(ValueError, match="read-only"):
        weights[0] = 7
    first = min(timeit.repeat(lambda: quadrature._gauss_legendre(50), number=10, repeat=5))
    again = min(timeit.repeat(lambda: quadrature.rule("gausslegendre", 50), number=10, repeat=5))
    assert again < first / 10
