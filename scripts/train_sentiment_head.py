"""Train the head of `minilm-sentiment` and write it, with its held-out accuracy, into the package.

Data: the movie-review snippets rated by twenty people each (mean rating -4 .. 4) in the source archive of
vaderSentiment 3.3.2 (MIT licence; Hutto and Gilbert, ICWSM 2014). Snippets rated weaker than 0.5 are left out; one in
five is held out, chosen by a fixed seed. About two minutes on two cores.

    pip download --no-deps --no-binary :all: vaderSentiment==3.3.2
    python scripts/train_sentiment_head.py vaderSentiment-3.3.2.tar.gz
"""

from __future__ import annotations

import argparse
import io
import json
import tarfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from enodo.io.sentiment import MAX_TOKENS, minilm, sentence_vector
from enodo.io.weights import FOLDER

INNER = "hutto_ICWSM_2014.tar.gz"
SNIPPETS = "movieReviewSnippets_GroundTruth.txt"
SEED, HELD_OUT, WEIGHT_DECAY = 0, 0.2, 1e-3


def snippets(archive: Path) -> tuple[list[str], Tensor]:
    """Texts and labels (1 = positive) of the snippets whose mean rating is at least 0.5 from neutral."""
    with tarfile.open(archive) as outer:
        inner = next(m for m in outer.getmembers() if m.name.endswith(INNER))
        with tarfile.open(fileobj=io.BytesIO(outer.extractfile(inner).read())) as data:
            name = next(m for m in data.getmembers() if m.name.endswith(SNIPPETS))
            lines = data.extractfile(name).read().decode("utf-8").splitlines()
    rows = [line.split("\t", 2) for line in lines if line.strip()]
    rated = [(text, float(rating)) for _, rating, text in rows if abs(float(rating)) >= 0.5]
    return [text for text, _ in rated], torch.tensor([int(rating > 0) for _, rating in rated])


@torch.inference_mode()
def encode(texts: list[str], chunk: int = 64) -> Tensor:
    """Sentence vectors (N, D), encoded by length so that little padding is computed."""
    encoder, tokenizer = minilm()
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    out: list[Tensor] = [torch.empty(0)] * len(texts)
    for start in range(0, len(order), chunk):
        rows = order[start : start + chunk]
        batch = tokenizer(
            [texts[i] for i in rows], padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        )
        for i, vector in zip(rows, sentence_vector(encoder, batch["input_ids"], batch["attention_mask"]), strict=True):
            out[i] = vector.clone()
    return torch.stack(out)


def fit(x: Tensor, y: Tensor) -> nn.Linear:
    """Logistic regression with two outputs, fitted by LBFGS from zero: deterministic."""
    head = nn.Linear(x.shape[1], 2)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    optimiser = torch.optim.LBFGS(head.parameters(), max_iter=500, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(head(x), y) + WEIGHT_DECAY * head.weight.square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    return head


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", type=Path)
    texts, labels = snippets(parser.parse_args().archive)
    vectors = encode(texts)
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(SEED))
    held, train = order[: int(HELD_OUT * len(texts))], order[int(HELD_OUT * len(texts)) :]
    head = fit(vectors[train].clone(), labels[train])
    right = (head(vectors[held]).argmax(1) == labels[held]).float().mean().item()
    share = labels[held].float().mean().item()
    facts = {
        "accuracy": round(right, 4),
        "majority": round(max(share, 1 - share), 4),
        "held_out": len(held),
        "trained_on": len(train),
        "seed": SEED,
        "source": "vaderSentiment 3.3.2, movie-review snippets",
        "script": "scripts/train_sentiment_head.py",
    }
    tensors = {"weight": head.weight.detach().contiguous(), "bias": head.bias.detach()}
    save_file(tensors, FOLDER / "minilm_sentiment.safetensors", metadata={"facts": json.dumps(facts)})
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
