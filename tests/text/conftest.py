"""What the tests of texts share: tokenizers of every kind, and models that are loaded or trained once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

pytest.importorskip("transformers")

from enodo.text import TextClassifierExplainer
from tests.text import cutters, vietnamese


@pytest.fixture(scope="session")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """By kind; the slow one tells nobody where its tokens stand."""
    made = {name: make() for name, make in cutters.MADE.items()}
    return made | {"PhoBERT": vietnamese.tokenizer(tmp_path_factory.mktemp("phobert"))}


@pytest.fixture(scope="session")
def phobert(tokenizers: dict[str, Any]) -> Any:
    """A classifier of PhoBERT's architecture that knows Vietnamese comments."""
    return vietnamese.classifier(tokenizers["PhoBERT"])


@pytest.fixture(scope="session")
def english() -> TextClassifierExplainer:
    """The real sentiment classifier."""
    from enodo.io.sentiment import CLASSES, MAX_TOKENS, minilm, minilm_sentiment

    return TextClassifierExplainer(minilm_sentiment().model, minilm()[1], classes=CLASSES, max_length=MAX_TOKENS)


@pytest.fixture(scope="session")
def bert(tokenizers: dict[str, Any]) -> Any:
    """Builds a small BERT with random weights for a task, in float64."""
    import transformers

    size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}

    def build(task: str = "SequenceClassification", **more: Any) -> Any:
        config = transformers.BertConfig(
            vocab_size=len(tokenizers["WordPiece"]), max_position_embeddings=32, initializer_range=0.3, **size, **more
        )
        with torch.random.fork_rng():
            torch.manual_seed(1)
            return getattr(transformers, f"BertFor{task}")(config).double().eval()

    return build


@pytest.fixture(scope="session")
def small(tokenizers: dict[str, Any], bert: Any) -> SimpleNamespace:
    """A small BERT for three classes, with its tokenizer and explainer."""
    model, cutter = bert(num_labels=3), tokenizers["WordPiece"]
    classes = ["bad", "fair", "good"]
    return SimpleNamespace(
        model=model, tokenizer=cutter, explain=TextClassifierExplainer(model, cutter, classes=classes)
    )
