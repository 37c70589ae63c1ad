"""A sum over a vector that a norm makes zero says nothing, and is not shown as if it did."""

import torch
from torch import nn

import enodo


class Texts(nn.Module):
    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.words, self.norm, self.head = nn.Embedding(9, 8), norm, nn.Linear(8, 3)

    def forward(self, ids):
        return self.head(torch.tanh(self.norm(self.words(ids))).mean(1))


def test_a_note_where_the_numbers_of_tokens_cancel():
    torch.manual_seed(0)
    normed, plain, ids = (
        Texts(nn.LayerNorm(8)).eval(),
        Texts(nn.Identity()).eval(),
        torch.tensor([[1, 5, 2], [3, 3, 8]]),
    )
    assert any("cancel" in note for note in enodo.explain(normed, ids, "gradient", target=1).notes)
    assert not any("cancel" in note for note in enodo.explain(plain, ids, "gradient", target=1).notes)
    assert not any("cancel" in note for note in enodo.explain(normed, ids, target=1).notes)
