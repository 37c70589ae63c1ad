"""Text models, against the installed Captum: transformers by their embedding layer, and embedding stand-ins."""

from __future__ import annotations

from typing import Any

import captum.attr as theirs
import pytest
import torch
from torch import Tensor, nn

import enodo.captum.attr as ours
from tests.captum.compare import both, same
from tests.captum.models import Text

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def bert() -> nn.Module:
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=32, num_labels=3,
    )  # fmt: skip
    return transformers.BertForSequenceClassification(config).eval()


IDS = torch.tensor([[2, 17, 31, 8, 3, 0], [2, 9, 44, 23, 40, 3]])
PAD = torch.tensor([[2, 0, 0, 0, 3, 0], [2, 0, 0, 0, 0, 3]])


@pytest.mark.parametrize("layer", ["bert.embeddings.word_embeddings", "bert.embeddings", "bert.encoder.layer.0.output"])
def test_integrated_gradients_of_a_transformer(bert: nn.Module, layer: str) -> None:
    def score(ids: Tensor, mask: Tensor) -> Tensor:
        return bert(ids, attention_mask=mask).logits

    question: dict[str, Any] = {"baselines": PAD, "target": [0, 2], "additional_forward_args": ((IDS > 0).long(),)}
    place = bert.get_submodule(layer)
    same(*both("LayerIntegratedGradients", (score, place), inputs=IDS, return_convergence_delta=True, **question))


def test_a_mapping_of_token_ids_needs_neither_a_wrapper_nor_a_layer(bert: nn.Module) -> None:
    inputs = {"input_ids": IDS, "attention_mask": (IDS > 0).long()}
    found = ours.IntegratedGradients(bert).attribute(inputs, {"input_ids": PAD}, target=1)
    score = lambda ids, mask: bert(ids, attention_mask=mask).logits  # noqa: E731
    explainer = theirs.LayerIntegratedGradients(score, bert.bert.embeddings.word_embeddings)
    expected = explainer.attribute(IDS, PAD, target=1, additional_forward_args=inputs["attention_mask"]).sum(-1)
    torch.testing.assert_close(found["input_ids"], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:The layer", "ignore:In order to make", "ignore:Input Tensor")
@pytest.mark.parametrize("name", ["IntegratedGradients", "Saliency", "InputXGradient"])
def test_embedding_stand_ins(name: str) -> None:
    torch.manual_seed(0)
    model, ids, answers = Text(True).eval(), torch.tensor([[3, 4, 5, 1], [7, 2, 6, 8]]), []
    for attr in (ours, theirs):
        stand_in = attr.configure_interpretable_embedding_layer(model, "embedding")
        vectors = stand_in.indices_to_embeddings(ids).detach()
        references = attr.TokenReferenceBase(0).generate_reference(4, torch.device("cpu"))
        more = (
            {"baselines": stand_in.indices_to_embeddings(references[None]).detach()}
            if name == "IntegratedGradients"
            else {}
        )
        explainer = getattr(attr, name)(lambda e: model(e, torch.ones(e.shape[:2])))
        answers.append(explainer.attribute(vectors, target=1, **more))
        attr.remove_interpretable_embedding_layer(model, stand_in)
    same(*answers)
