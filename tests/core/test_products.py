"""Products that oneDNN does in the place of MKL: the same numbers, as near to float64, with nothing kept for them."""

from __future__ import annotations

import pathlib
import platform
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import enodo
from enodo.core import products
from enodo.core.products import done

ROWS, N, M = 512, 256, 384


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor whose vectors MKL leaves unused."""
    monkeypatch.setattr(products, "_narrow", lambda: True)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of the rows that oneDNN was given."""
    met: list[tuple[int, ...]] = []
    real = products._of_rows

    def of_rows(fn: Any, x: Tensor, *rest: Any) -> Tensor:
        met.append(tuple(x.shape))
        return real(fn, x, *rest)

    monkeypatch.setattr(products, "_of_rows", of_rows)
    return met


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


SPELLINGS: dict[str, tuple[Any, Callable[[Tensor, Tensor, Tensor], tuple[Any, ...]]]] = {
    "linear": (F.linear, lambda x, w, b: (x, w, b)),
    "linear without a bias": (F.linear, lambda x, w, b: (x, w)),
    "addmm": (torch.addmm, lambda x, w, b: (b, x, w.T.contiguous())),
    "matmul": (torch.matmul, lambda x, w, b: (x, w.T.contiguous())),
    "@": (Tensor.matmul, lambda x, w, b: (x, w.T)),
    "mm": (torch.mm, lambda x, w, b: (x, w.T)),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_product_and_its_gradient_are_those_of_float64(name: str, asked: list[tuple[int, ...]]) -> None:
    func, given = SPELLINGS[name]
    x, w, b, g = draw(ROWS, N), draw(M, N), draw(M), draw(ROWS, M)

    def both(call: Callable[..., Tensor], dtype: torch.dtype) -> list[Tensor]:
        rows = x.to(dtype).requires_grad_()
        y = call(func, given(rows, w.to(dtype), b.to(dtype)), {})
        return [y.detach(), *torch.autograd.grad(y, rows, g.to(dtype))]

    ours = both(done, torch.float32)
    assert asked == [(ROWS, N), (ROWS, M)]
    theirs = both(lambda f, args, kwargs: f(*args, **kwargs), torch.float32)
    truth = both(lambda f, args, kwargs: f(*args, **kwargs), torch.float64)
    # the way back has sums of twice as many terms, whose errors are the root of two larger
    for a, c, t, error in zip(ours, theirs, truth, (3e-7, 4e-7), strict=True):
        assert a.is_contiguous()
        assert a.shape == t.shape
        assert (a - t).norm() <= max(1.2 * (c - t).norm(), error * t.norm())


def test_rows_may_lie_in_any_dimensions_and_order(asked: list[tuple[int, ...]]) -> None:
    x, w = draw(8, N, 64).mT, draw(M, N)  # (8, 64, N), not contiguous
    torch.testing.assert_close(done(F.linear, (x, w), {}), x @ w.T, rtol=1e-5, atol=1e-4)
    assert asked == [(8, 64, N)]


def test_nothing_but_the_matrix_is_kept_for_the_gradient() -> None:
    x, w = draw(ROWS, N).requires_grad_(), draw(M, N)
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        done(F.linear, (x, w), {})
    assert [t.data_ptr() for t in kept] == [w.data_ptr()]


def test_many_gradients_at_once_and_gradients_of_gradients() -> None:
    x, w = draw(ROWS, N).requires_grad_(), draw(M, N)
    y = done(F.linear, (x, w), {})
    several = draw(3, ROWS, M)
    (found,) = torch.autograd.grad(y, x, several, is_grads_batched=True, retain_graph=True)
    torch.testing.assert_close(found, several @ w, rtol=1e-5, atol=1e-4)
    (g,) = torch.autograd.grad((y**3).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(g.sum(), x)
    (expected,) = torch.autograd.grad(torch.autograd.grad(((x @ w.T) ** 3).sum(), x, create_graph=True)[0].sum(), x)
    assert (second - expected).norm() < 1e-5 * expected.norm()


def others() -> Iterator[tuple[str, Any, tuple[Any, ...]]]:
    x, w, b = draw(ROWS, N), draw(M, N), draw(M)
    yield "few rows", F.linear, (x[:64], w, b)
    yield "a narrow matrix", F.linear, (draw(1 << 16, 32), draw(M, 32))
    yield "one column", F.linear, (x, w[:1])
    yield "little work", F.linear, (x[:128], w[:64])
    yield "float64", F.linear, (x.double(), w.double(), b.double())
    yield "bfloat16", F.linear, (x.bfloat16(), w.bfloat16())
    yield "a weight to learn", F.linear, (x, w.clone().requires_grad_())
    yield "a bias to learn", F.linear, (x, w, b.clone().requires_grad_())
    yield "a bias of all rows", torch.addmm, (draw(ROWS, M), x, w.T)
    yield "matrices of a batch", torch.matmul, (draw(4, 256, N), draw(4, N, M))
    yield "a vector", torch.matmul, (x, draw(N))
    yield "another operation", torch.add, (x, 1.0)


@pytest.mark.parametrize(("func", "args"), [pytest.param(f, a, id=name) for name, f, a in others()])
def test_what_does_not_suit_is_left_to_torch(func: Any, args: tuple[Any, ...], asked: list[tuple[int, ...]]) -> None:
    assert torch.equal(done(func, args, {}), func(*args))
    assert not asked


def test_autocast_vmap_and_arguments_by_name_are_left_to_torch(asked: list[tuple[int, ...]]) -> None:
    x, w = draw(ROWS, N), draw(M, N)
    with torch.autocast("cpu", torch.bfloat16):
        assert done(F.linear, (x, w), {}).dtype == torch.bfloat16
    many = torch.vmap(lambda t: done(F.linear, (t, w), {}))(draw(2, ROWS, N))
    assert many.shape == (2, ROWS, M)
    out = torch.empty(ROWS, M)
    assert done(torch.mm, (x, w.T), {"out": out}) is out
    assert not asked


def test_shapes_that_do_not_fit_get_the_error_of_torch() -> None:
    for func, args in ((F.linear, (draw(ROWS, N), draw(N, M))), (torch.mm, (draw(ROWS, N), draw(M, N)))):
        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            done(func, args, {})


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.up, self.down = nn.Embedding(50, N), nn.Linear(N, M), nn.Linear(M, N)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        return (x + self.down(F.gelu(self.up(x)))).mean((1, 2))


@pytest.mark.parametrize("method", ["integrated_gradients", "deeplift", "lrp", "kernel_shap", "occlusion"])
def test_an_attribution_is_the_same_by_either_library(
    method: str, asked: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, ids = (
        Words().eval(),
        torch.arange(1, 9)[None].repeat(1 if method in ("integrated_gradients", "kernel_shap") else 64, 1),
    )
    quick = enodo.explain(model, ids, method, batch_size=64)
    assert asked
    asked.clear()
    monkeypatch.setattr(products, "_narrow", lambda: False)
    slow = enodo.explain(model, ids, method, batch_size=64)
    assert not asked
    torch.testing.assert_close(quick.values, slow.values, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("capability", "maker", "expected"),
    [("AVX512", "AuthenticAMD", True), ("AVX512", "GenuineIntel", False), ("AVX2", "AuthenticAMD", False)],
)
def test_which_processors_are_asked_about(
    capability: str, maker: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(pathlib.Path, "read_text", lambda path, **_: f"vendor_id : {maker}")
    assert products._narrow.__wrapped__() is expected

    def missing(path: pathlib.Path, **_: Any) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(pathlib.Path, "read_text", missing)
    monkeypatch.setattr(platform, "processor", lambda: f"AMD64 Family 25, {maker}")
    assert products._narrow.__wrapped__() is expected
