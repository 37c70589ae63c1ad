"""Each operation that a model may be made of, in each of its spellings: complete, conserved, known to the audit."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import enodo
from enodo.core.operations import spelling
from enodo.testing.models import normal
from tests.rules.nets import settled

SPECIAL = torch.special
INDEX = torch.tensor([2, 0, 3])
HALF = torch.arange(24).reshape(4, 6) % 2 == 0
WEIGHT = normal(5, 6, seed=9)
STATS = [normal(4, seed=s).abs() + 0.5 for s in range(4)]  # of four channels: weight, bias, mean, variance
CLASSES = torch.arange(18).reshape(3, 6) % 4
BAGS = torch.tensor([[0, 1], [2, 3]])
TURN = torch.polar(torch.ones(3), torch.arange(3.0)).to(torch.complex128)
EDGES = torch.tensor([[0.0, 2, 0, 0], [0, 0, -1, 0.5], [1, 0, 0, 0], [0, 0, 0, 3]]).double()  # of a graph of four nodes
SPARSE = EDGES.to_sparse(), EDGES.to_sparse_csc()
# Functions of (B, 4, 6); the scores are their sums, weighted so that no two entries count alike.
OPERATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "special": lambda x: x * SPECIAL.ndtr(x) + SPECIAL.erfcx(x) - SPECIAL.i0(x) + SPECIAL.logit(SPECIAL.expit(x))
    + SPECIAL.sinc(x) + SPECIAL.xlogy(x, 1 + x * x) + SPECIAL.log_ndtr(x)
    + SPECIAL.gammaln(1 + x * x) * SPECIAL.erfinv(x.tanh()),
    "prod": lambda x: torch.prod(x, 1) + x.prod(2).sum(1, keepdim=True) + x.prod(1, keepdim=True)[:, 0],
    "cumprod": lambda x: x.cumprod(1) + torch.cumprod(x, -1),
    "cumsum": lambda x: x.cumsum(1) + torch.cumsum(x, -1) + x.clone().cumsum_(2),
    "logcumsumexp": lambda x: x.logcumsumexp(2) + torch.logaddexp(input=x, other=x.sin()),
    "cummax": lambda x: x.cummax(2)[0] - torch.cummin(x, 1).values,
    "cdist": lambda x: torch.cdist(x, x.tanh() + 1) + torch.cdist(x, x[:, :2] - 1, p=1).sum(2, keepdim=True),
    "pairwise distance": lambda x: F.pairwise_distance(x[:, 0], x[:, 1]) + nn.PairwiseDistance(3)(x[:, 2], x[:, 3]),
    "hypot": lambda x: torch.hypot(x, x.flip(1)),
    "sort": lambda x: x.sort(2)[0] + torch.sort(x, dim=1, descending=True).values,
    "msort": lambda x: x.transpose(0, 1).msort().transpose(0, 1),
    "topk": lambda x: x.topk(2, dim=1)[0] + torch.topk(x, 4, largest=False).values[:, :2, :1],
    "kthvalue": lambda x: x.kthvalue(2, 1)[0] + torch.kthvalue(x, 3, dim=2, keepdim=True).values.sum(1),
    "median": lambda x: x.median(2)[0].sum(1, keepdim=True) + torch.median(x, dim=1, keepdim=True).values[:, 0],
    "quantile": lambda x: x.quantile(0.3, 2) + x.quantile(torch.tensor([0.1, 0.8]).double(), 1).sum((0, 2))[:, None],
    "amax": lambda x: x.amax(1) - x.amin((1, 2))[:, None] + torch.aminmax(x, dim=1).max,
    "gather": lambda x: x.gather(1, torch.ones(len(x), 2, 6, dtype=torch.long)).exp(),
    "index_select": lambda x: x.index_select(1, INDEX).exp() + torch.index_select(x, 1, INDEX),
    "take_along_dim": lambda x: x.take_along_dim(INDEX.reshape(1, 3, 1).expand(len(x), -1, 6), 1).exp(),
    "indexed": lambda x: x[:, INDEX].exp() + x[:, [1, 0, 2]],
    "masked_select": lambda x: x[:, HALF].exp() + torch.stack([r.masked_select(HALF) for r in x]),
    "scatter": lambda x: x.exp().scatter(1, torch.zeros(len(x), 1, 6, dtype=torch.long), x[:, 3:].sin()),
    "scatter_add": lambda x: x.tanh().scatter_add(1, INDEX.reshape(1, 3, 1).expand(len(x), -1, 6), x[:, :3].exp()),
    "scatter_reduce": lambda x: _gathered(x),
    "index_add": lambda x: x.tanh().index_add(1, INDEX, x[:, :3].exp()),
    "index_put": lambda x: x.sin().index_put((torch.arange(len(x)), INDEX[: len(x)]), x[:, 0].exp()),
    "index assignment": lambda x: _assigned(x),
    "masked assignment": lambda x: _blanked(x),
    "masked_fill": lambda x: x.masked_fill(HALF, 3.0).exp() + torch.masked_fill(x, HALF, -1.0),
    "solve_triangular": lambda x: _substituted(x),
    "where": lambda x: torch.where(HALF, x.exp(), x * x),
    "einsum": lambda x: torch.einsum("bij,kj->bik", x, WEIGHT) + torch.einsum("bij,bij->bi", x, x.exp())[..., None],
    "bilinear": lambda x: F.bilinear(x, x.tanh(), normal(2, 6, 6, seed=3)),
    "bmm": lambda x: torch.bmm(x, x.mT) + x.bmm(x.tanh().transpose(1, 2)) + x @ x.mT,
    "baddbmm": lambda x: torch.baddbmm(x[:, :, :4], x, x.mT, beta=0.5, alpha=2) + x[..., 2:].baddbmm(x, x.mT),
    "addmm": lambda x: torch.addmm(x[0, :, :4], x[0], x[0].mT)[None] + torch.addcdiv(x, x, 2 + x * x)[..., :4],
    "matrix and vector": lambda x: torch.stack([torch.mv(r, r[0]) + torch.outer(r[1], r[2])[:4, 0] for r in x]),
    "sparse matrices": lambda x: torch.stack([torch.sparse.mm(SPARSE[0], r) + (SPARSE[1] @ r).exp() for r in x])
    + torch.stack([torch.sparse.addmm(r, SPARSE[0], r) + torch.spmm(SPARSE[0], r).exp() for r in x]),
    "tensordot": lambda x: torch.tensordot(x, WEIGHT, ([2], [1])) + torch.kron(x[:1], WEIGHT[:1, :1]).sum(),
    "linear": lambda x: F.linear(x, WEIGHT).exp() + F.linear(x, normal(5, 6, seed=2), x[0, 0, :5]),
    "adaptive max pools": lambda x: F.adaptive_max_pool1d(x, 3) + F.adaptive_max_pool2d(x, (4, 3))
    + F.adaptive_max_pool3d(x[:, None], (2, 2, 3))[:, 0, :1] + nn.AdaptiveMaxPool1d(3, return_indices=True)(x)[0]
    + torch.adaptive_max_pool1d(x, 3)[0] * torch.ops.aten.adaptive_max_pool2d.default(x, [4, 3])[0],
    "adaptive average pools": lambda x: F.adaptive_avg_pool1d(x.exp(), 3) + F.adaptive_avg_pool2d(x, (4, 3)),
    "other pools": lambda x: F.lp_pool1d(x.exp(), 2, 2) + F.avg_pool1d(x, 2).exp() + F.max_pool1d(x, 2),
    "unpooled": lambda x: F.max_unpool1d(*F.max_pool1d(x, 2, return_indices=True), 2).tanh()
    + F.max_unpool2d(*F.max_pool2d(x.sin(), 2, return_indices=True), 2),
    "quantised": lambda x: torch.fake_quantize_per_tensor_affine(x * 1.7, 0.25, 3, 0, 20).tanh()
    + torch.fake_quantize_per_channel_affine(x.tanh(), STATS[0].float(), INDEX.new_zeros(4).int(), 1, -9, 9),
    "local response": lambda x: F.local_response_norm(x, 2),
    "rms_norm": lambda x: F.rms_norm(x, (6,), normal(6, seed=4)) + nn.RMSNorm(6).double()(x),
    "layer_norm": lambda x: F.layer_norm(x, (4, 6)) + torch.layer_norm(x, (6,)) + F.instance_norm(x),
    "batch_norm": lambda x: torch.batch_norm(x, *STATS, False, 0.1, 1e-5, False).exp()
    + F.batch_norm(x, STATS[2], STATS[3], STATS[0], STATS[1]).tanh(),
    "instance_norm": lambda x: torch.instance_norm(x, *STATS[:2], None, None, True, 0.1, 1e-5, False)
    + F.instance_norm(x, STATS[2], STATS[3], STATS[0], use_input_stats=False).tanh()
    + torch.instance_norm(
        running_var=STATS[3], running_mean=STATS[2], input=x, bias=STATS[1], weight=STATS[0],
        use_input_stats=False, eps=1e-5, momentum=0.1, cudnn_enabled=False,
    ).exp(),
    "lengths": lambda x: torch.linalg.norm(x, dim=2) + x.norm(dim=2) + torch.linalg.vector_norm(x, 3, dim=2),
    "matrix norms": lambda x: torch.linalg.norm(x, "fro", dim=(1, 2)) + torch.linalg.matrix_norm(x, 1)
    + torch.linalg.matrix_norm(x, float("inf")) - torch.linalg.norm(x, -1, dim=(1, 2)),
    "masks": lambda x: x * (x > 0) + x * (x > 0.1).double() + (x < 1).double() / x.exp() + x.clone().mul_(x > -1),
    "counts": lambda x: x.sum(2) / (x > 0).sum(2).clamp(min=1) * (x > 0).sum((1, 2))[:, None],
    "einsum of three": lambda x: torch.einsum("...ij, ...ij, ...kj -> ...ik", x, x.exp(), x.tanh())
    + torch.stack([torch.einsum("ij,ij,kj", r, r.sin(), r.cos()) for r in x])[..., None]
    + torch.einsum("bij,bkj,bij,kj->bk", [x, x.sin(), x.exp(), WEIGHT[:4]])[..., None],
    "a list that grows": lambda x: _grown(x),
    "inverses": lambda x: x * (1 / x.exp()) + x.sin() / x.exp() + x * x.exp().reciprocal(),
    "three factors": lambda x: torch.stack([torch.linalg.multi_dot([r, r.T, r.tanh()]) for r in x])
    + torch.stack([F.bilinear(r, r.tanh(), r[:1, :, None] * r[:1, None]) for r in x]),
    "keywords": lambda x: torch.stack([torch.addmv(r[:, 0], mat=r, vec=r[0]) for r in x])[..., None]
    + torch.addcmul(x, tensor1=x, tensor2=x.sin()) + torch.std(input=x, dim=2, keepdim=True)
    + torch.stack([torch.addmm(r, mat2=r, mat1=r[:, :4]) for r in x]) + torch.div(input=x, other=3).mul(other=x.exp()),
    "added to a layer": lambda x: torch.stack([torch.addmm(r[:, :5], r, WEIGHT.T, beta=2) for r in x])
    + torch.stack([F.linear(r, WEIGHT, r[0, :5]) for r in x])
    + torch.stack([torch.addmm(r[:, :5], 0 * WEIGHT[:4, :4], WEIGHT[:4, :5]) for r in x])
    + torch.stack([F.conv1d(r[None], r[:, :4, None].tanh(), r[:, 0])[0, :, :5] for r in x])[:, :1],
    "trapezoids": lambda x: torch.trapezoid(x, x.cumsum(1), dim=1) + torch.trapz(x.tanh(), dim=1)
    + torch.trapezoid(y=x.sin(), dx=0.5, dim=1) + torch.trapezoid(x, STATS[0].cumsum(0), dim=1),
    "bags": lambda x: torch.stack([F.embedding_bag(BAGS, r, mode="max") for r in x])
    + torch.stack([F.embedding_bag(BAGS, r, mode="sum", per_sample_weights=r[:2, :2]) for r in x]),
    "rotated": lambda x: torch.view_as_real(_pairs(x) * _pairs(x.exp()) + _pairs(x) * TURN / (2 + x[..., :3] ** 2))
    .flatten(2) + torch.cat([_pairs(x).abs(), (x[..., :3] * _pairs(x).conj() / TURN).imag], 2),
    "weighted losses": lambda x: F.cross_entropy(x, CLASSES, STATS[0], label_smoothing=0.2, reduction="none")
    + F.cross_entropy(x, CLASSES, ignore_index=1, label_smoothing=0.1, reduction="none")
    + F.cross_entropy(x, STATS[2].expand(len(x), 6, 4).mT, STATS[1], reduction="none")
    + F.kl_div(x, HALF.double().expand_as(x), reduction="none").sum(1)
    + F.mse_loss(x[:, 0], x[:, 1].exp(), reduce=False),
    "losses of one": lambda x: F.cross_entropy(x, CLASSES[:1], STATS[3], label_smoothing=0.2)
    + F.cross_entropy(x[0, 0], torch.tensor(2), label_smoothing=0.2) + F.mse_loss(x, x.sin(), size_average=False)
    + F.mse_loss(x[0], x[0].sin(), weight=HALF + 1.0),
    "losses": lambda x: F.l1_loss(x[:, 0], x[:, 1].exp(), reduction="none") + F.smooth_l1_loss(x[:, 2], x[:, 3],
        reduction="none", beta=0.3) + F.huber_loss(x[:, 1], x[:, 2], reduction="none", delta=0.7)
    + F.binary_cross_entropy(x[:, 0].sigmoid(), HALF[0].double().expand(len(x), -1), reduction="none")
    + F.binary_cross_entropy_with_logits(x[:, 3], HALF[1].double().expand(len(x), -1), reduction="none")
    + F.kl_div(x[:, 1].log_softmax(1), x[:, 2].softmax(1), reduction="none"),
    "squeezed": lambda x: x.square().sum(1).sqrt().exp().log1p() + (1 + x.square()).rsqrt().sum(1),
    "moved": lambda x: torch.stack([*x.unbind(1)], 2).flatten(1).roll(3, 1).unflatten(1, (6, 4)).mT.exp(),
    "split": lambda x: torch.cat([torch.dstack(x.chunk(2, 2)), *x.tensor_split(2, 2), *x.split([1, 5], 2)], 2).exp(),
    "padded": lambda x: F.pad(x, (1, 2), mode="reflect").exp() + nn.ConstantPad1d((1, 2), 0.5)(x),
    "repeated": lambda x: x.repeat(1, 2, 1).exp() + x.tile(1, 2, 1) + x.repeat_interleave(2, 1),
    "resized": lambda x: F.interpolate(x.exp(), scale_factor=2, mode="nearest") + nn.Upsample(12)(x),
    "folded": lambda x: F.fold(F.unfold(x[:, None].exp(), 2), (4, 6), 2)[:, 0] + x.unfold(2, 1, 1)[..., 0],
    "complex": lambda x: torch.fft.rfft(x.exp()).real + torch.fft.irfft(torch.fft.rfft(x, dim=2), 6, dim=2)[..., :4],
    "GRU": lambda x: RECURRENT["GRU"](x)[0],
    "GRUCell": lambda x: RECURRENT["cell"](x[:, 0], RECURRENT["cell"](x[:, 1])),
}  # fmt: skip
RECURRENT = {"GRU": settled(nn.GRU(6, 5, 2, batch_first=True, bidirectional=True)), "cell": settled(nn.GRUCell(6, 5))}
NOT_BY_AUTOGRAD = ("index assignment", "masked assignment")  # they write over what it needs
# Constants absorb relevance, biases among them.
ABSORBING = frozenset(
    ("logcumsumexp", "cdist", "pairwise distance", "index assignment", "masked_fill", "linear",
     "losses", "squeezed", "padded", "GRU", "GRUCell", "batch_norm", "instance_norm", "weighted losses",
     "losses of one", "masks", "rotated", "special", "solve_triangular")
)  # fmt: skip


def _grown(x: Tensor) -> Tensor:
    found = [x.sin()]
    for _ in range(2):
        found.append(torch.cat(found, 1).tanh().cumsum(1)[:, :2])
    return torch.cat(found, 1)


def _pairs(x: Tensor) -> Tensor:
    return torch.view_as_complex(x.unflatten(2, (3, 2)))


def _substituted(x):
    """Of lower and upper triangles, on either side, with a unit diagonal or one of their own."""
    solve, a = torch.linalg.solve_triangular, x[..., :4] + 3 * torch.eye(4)
    y = solve(a.tril(), x, upper=False) + solve(a.mT, normal(4, 6, seed=7), upper=True)
    z = solve(a / 9, x.mT.exp(), upper=True, left=False, unitriangular=True).mT
    return y * z + solve(WEIGHT[:4, :4], x, upper=True)


def _gathered(x):
    """The largest and smallest of what comes to each of five places, to one of which nothing comes."""
    zeros, index = x.new_zeros(len(x), 5, 6), torch.tensor([3, 0, 3, 1]).view(1, 4, 1).expand(len(x), 4, 6)
    largest = zeros.scatter_reduce(1, index, x, "amax", include_self=False)
    smallest = x.sin().scatter_reduce(dim=-1, index=CLASSES[:1, None].expand(len(x), 4, 6), src=x.exp(), reduce="amin")
    return largest.tanh().sum(1, keepdim=True) + smallest + zeros[:, :4].clone().scatter_reduce_(1, index, x, "amax")


def _assigned(x: Tensor) -> Tensor:
    y = x.tanh()
    y[torch.arange(len(x)), INDEX[: len(x)]] = x[:, 1].exp()
    y[:, 0, 1] = 0.5
    return y


def _blanked(x: Tensor) -> Tensor:
    y = x.exp()
    y[:, HALF] = x[:, HALF] * x[:, ~HALF]
    return y


def score(name: str) -> Callable[[Tensor], Tensor]:
    def model(x: Tensor) -> Tensor:
        y = OPERATIONS[name](x).reshape(len(x), -1)
        return (y * torch.linspace(1, 2, y.shape[1], dtype=y.dtype)).sum(1)

    return model


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation(name: str) -> None:
    one = name in (
        "addmm",
        "tensordot",
        "linear",
        "losses of one",
        "added to a layer",
    )  # which mix rows as written
    x, x0 = normal(1 if one else 3, 4, 6, seed=5), normal(1 if one else 3, 4, 6, seed=6)
    model = score(name)
    found = enodo.explain(model, x, "deeplift", baseline=x0)
    change = (found.scores - found.baseline_scores).abs()
    torch.testing.assert_close(found.scores, model(x))
    assert (found.delta.abs() <= 1e-6 * change).all(), (found.delta / change).tolist()
    assert enodo.audit(model, x).complete
    if name not in NOT_BY_AUTOGRAD:
        at_itself = enodo.explain(model, x, "deeplift", baseline=x, multiply=False)
        gradient = enodo.explain(model, x, "gradient")
        torch.testing.assert_close(at_itself.tensor, gradient.tensor, atol=1e-6, rtol=1e-5)
    relevance = enodo.explain(model, x, "lrp")
    assert torch.isfinite(relevance.tensor).all()
    torch.testing.assert_close(relevance.scores, model(x))
    if name not in ABSORBING:
        assert (relevance.delta.abs() <= 1e-6 * relevance.scores.abs()).all()
    for table in (enodo.rules.GUIDED, enodo.rules.DECONVOLUTION):
        assert enodo.audit(model, x, table).complete


def test_what_crosses_an_order_statistic_shares_its_change() -> None:
    """The median goes from 2 to 6: of five, one rises from 1 to 7 and one from 2 to 6, and each carries half."""
    x0, x = torch.tensor([[1.0, 2.0, 0.0, 8.0, 9.0]]), torch.tensor([[7.0, 6.0, 0.0, 8.0, 3.0]])
    found = enodo.explain(lambda x: x.median(1)[0], x, "deeplift", baseline=x0, multiply=False)
    torch.testing.assert_close(found.tensor, torch.tensor([[4 / 6 / 2, 4 / 4 / 2, 0, 0, 0]]))
    back = enodo.explain(lambda x: x.median(1)[0], x0, "deeplift", baseline=x, multiply=False)
    torch.testing.assert_close(back.tensor, found.tensor)


def test_at_the_baseline_sorting_is_its_gradient() -> None:
    x = normal(2, 5)
    found = enodo.explain(lambda x: x.sort(1)[0][:, 1], x, "deeplift", baseline=x, multiply=False)
    assert torch.equal(found.tensor, (x == x.sort(1)[0][:, 1:2]).to(x.dtype))


def test_names_that_torch_has_for_one_function_are_one_operation() -> None:
    """torch.mm is torch.dsmm to a dictionary: which of the two names it was met by first must not matter."""
    told: dict[Any, set[str]] = {}
    for home in (torch, torch.Tensor, torch._C.TensorBase, F, torch.linalg, torch.special):
        for func in vars(home).values():
            if isinstance(func, (types.BuiltinFunctionType, types.MethodDescriptorType)):
                told.setdefault(func, set()).add(spelling.__wrapped__(func).name)
    assert "mm" in told[torch.dsmm]
    assert all(len(names) == 1 for names in told.values())
