"""Models of the transformers library as they are: DeepLIFT is complete on them, from random baselines, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import enodo
from enodo.testing.models import normal, seeded

tf = pytest.importorskip("transformers")

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
WORDS = {**SMALL, "vocab_size": 60, "bos_token_id": 1, "eos_token_id": 2}
PICTURES = {"image_size": 16, "patch_size": 4}
STAGES = {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]}
SOUNDS = {
    "conv_dim": [8, 8], "conv_stride": [5, 2], "conv_kernel": [10, 3], "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2, "classifier_proj_size": 8,
}  # fmt: skip

TEXT: dict[str, Callable[[], Any]] = {
    "BERT": lambda: tf.BertForSequenceClassification(tf.BertConfig(**WORDS)),
    "RoBERTa": lambda: tf.RobertaForSequenceClassification(tf.RobertaConfig(**WORDS, max_position_embeddings=40)),
    "DistilBERT": lambda: tf.DistilBertForSequenceClassification(
        tf.DistilBertConfig(dim=16, n_layers=2, n_heads=2, hidden_dim=32, vocab_size=60)
    ),
    "GPT-2": lambda: tf.GPT2LMHeadModel(
        tf.GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=60, n_positions=32, bos_token_id=1, eos_token_id=2)
    ),
    "T5": lambda: tf.T5EncoderModel(tf.T5Config(d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, vocab_size=60)),
}
# These compute norms or positions in float32 whatever the model's dtype is, so that a score has its rounding.
SINGLE: dict[str, Callable[[], Any]] = {
    "Llama": lambda: tf.LlamaForCausalLM(tf.LlamaConfig(**WORDS, num_key_value_heads=1)),
    "Mistral": lambda: tf.MistralForCausalLM(tf.MistralConfig(**WORDS, num_key_value_heads=1, sliding_window=4)),
    "Qwen": lambda: tf.Qwen2ForCausalLM(tf.Qwen2Config(**WORDS, num_key_value_heads=2)),
}
IMAGES: dict[str, Callable[[], Any]] = {
    "ViT": lambda: tf.ViTForImageClassification(tf.ViTConfig(**SMALL, **PICTURES)),
    "CLIP vision": lambda: tf.CLIPVisionModel(tf.CLIPVisionConfig(**SMALL, **PICTURES)),
    "Swin": lambda: tf.SwinForImageClassification(
        tf.SwinConfig(image_size=16, patch_size=2, embed_dim=8, depths=[2, 2], num_heads=[2, 2], window_size=2)
    ),
    "ConvNeXt": lambda: tf.ConvNextForImageClassification(tf.ConvNextConfig(**STAGES, layer_scale_init_value=0.5)),
    "ResNet": lambda: tf.ResNetForImageClassification(tf.ResNetConfig(embedding_size=8, layer_type="basic", **STAGES)),
    "MobileNetV2": lambda: tf.MobileNetV2ForImageClassification(
        tf.MobileNetV2Config(depth_multiplier=0.25, image_size=32)
    ),
    "SegFormer": lambda: tf.SegformerForImageClassification(
        tf.SegformerConfig(num_attention_heads=[1, 1, 2, 2], **STAGES)
    ),
}


def _first(output: Any) -> Tensor:
    """One number a row, of whatever the model calls its answer."""
    for name in ("logits", "pooler_output", "last_hidden_state"):
        found = getattr(output, name, None)
        if found is not None:
            return found.flatten(1)[:, 1]
    raise AssertionError(output)


def made(build: Callable[[], Any]) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = seeded(build(), scale=0.3)
    for name, b in model.named_buffers():
        if "running" in name:
            b.fill_(0.3)
    return model


def need_complete(model: Any, x: Any, x0: Any) -> None:
    found = enodo.explain(model, x, "deeplift", baseline=x0, target=_first)
    change = found.scores - found.baseline_scores
    assert change.abs().min() > 1e-9
    plain = [enodo.ask(model, at, target=_first).scores.detach() for at in (x, x0)]
    torch.testing.assert_close([found.scores, found.baseline_scores], plain)
    assert (found.delta.abs() <= 1e-6 * change.abs()).all(), (found.delta / change).tolist()


@pytest.mark.parametrize("name", [*TEXT, *SINGLE])
def test_text(name: str) -> None:
    ids = torch.tensor([[5, 9, 33, 41, 7], [11, 6, 28, 50, 3]])
    need_complete(made({**TEXT, **SINGLE}[name]), {"input_ids": ids}, {"input_ids": ids.flip(0) + 4})


@pytest.mark.parametrize("name", IMAGES)
def test_images(name: str) -> None:
    size = 32 if name in ("ConvNeXt", "ResNet", "MobileNetV2", "SegFormer") else 16
    need_complete(made(IMAGES[name]), normal(2, 3, size, size), normal(2, 3, size, size, seed=1))


def test_sound() -> None:
    build = lambda: tf.Wav2Vec2ForSequenceClassification(tf.Wav2Vec2Config(**SMALL, **SOUNDS))  # noqa: E731
    need_complete(made(build), normal(2, 400), normal(2, 400, seed=1))
