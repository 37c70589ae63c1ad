"""Comments in Vietnamese, written for these tests: word-segmented as PhoBERT expects them, with their sentiment.

A small classifier of PhoBERT's architecture is trained on them in seconds, with a tokenizer made of their words.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

LABELS = ("tiêu_cực", "tích_cực")  # negative, positive

POSITIVE = """
sản_phẩm rất tốt , tôi rất thích
giao hàng nhanh , đóng_gói cẩn_thận
chất_lượng tuyệt_vời , đáng tiền
nhân_viên nhiệt_tình và thân_thiện
phim hay quá , diễn_viên đóng tốt
món ăn ngon , quán sạch_sẽ
tôi hài_lòng với sản_phẩm này
áo đẹp , vải mềm và mát
dịch_vụ tốt , sẽ quay lại
điện_thoại chạy nhanh , pin tốt
khách_sạn sạch_sẽ , phòng đẹp
giá rẻ mà chất_lượng tốt
cảm_ơn shop , hàng đẹp lắm
bài hát hay , tôi nghe mãi
thầy dạy dễ hiểu , rất nhiệt_tình
đồ uống ngon , không_gian đẹp
sách hay , nội_dung sâu_sắc
ứng_dụng tiện_lợi và dễ dùng
con tôi rất thích món này
tuyệt_vời , tôi sẽ mua lại
giày đẹp , đi êm chân
quán này ngon và rẻ
hàng đúng mô_tả , rất hài_lòng
máy chạy êm , đáng tiền
phim tuyệt_vời , tôi thích lắm
"""
NEGATIVE = """
sản_phẩm quá tệ , tôi rất thất_vọng
giao hàng chậm , đóng_gói cẩu_thả
chất_lượng kém , phí tiền
nhân_viên thô_lỗ và lười
phim dở quá , diễn_viên đóng tệ
món ăn dở , quán bẩn
tôi thất_vọng với sản_phẩm này
áo xấu , vải cứng và nóng
dịch_vụ kém , không quay lại
điện_thoại chạy chậm , pin tệ
khách_sạn bẩn , phòng xấu
giá đắt mà chất_lượng kém
shop lừa khách , hàng xấu lắm
bài hát chán , tôi không nghe
thầy dạy khó hiểu , rất chán
đồ uống dở , không_gian bẩn
sách chán , nội_dung nhạt
ứng_dụng lỗi và khó dùng
con tôi rất ghét món này
tệ quá , tôi không mua lại
giày xấu , đi đau chân
quán này dở và đắt
hàng sai mô_tả , rất thất_vọng
máy chạy ồn , phí tiền
phim tệ , tôi ghét lắm
"""
STATED = {"tốt", "thích", "tuyệt_vời", "hài_lòng", "đẹp", "ngon", "hay"}  # words that say it, for
DENIED = {"tệ", "kém", "dở", "thất_vọng", "xấu", "bẩn", "chán", "ghét"}  # and against


def comments() -> list[tuple[str, int]]:
    """(comment, label), 0 for negative and 1 for positive."""
    parts = zip((NEGATIVE, POSITIVE), (0, 1), strict=True)
    return [(line, label) for text, label in parts for line in text.strip().splitlines()]


def tokenizer(folder: Path) -> Any:
    """PhoBERT's tokenizer with the words of the comments in its vocabulary; rare words come apart at "@@"."""
    from transformers.models.phobert.tokenization_phobert import PhobertTokenizer

    counts: dict[str, int] = {}
    for line, _ in comments():
        for word in line.split():
            counts[word] = counts.get(word, 0) + 1
    letters = sorted({c for word in counts for c in word})
    merges: list[tuple[str, str]] = []
    pieces: list[str] = []
    for word, n in counts.items():
        if n > 1:  # merged letter by letter from the left, so that the word is one token
            parts = [*word[:-1], word[-1] + "</w>"]
            while len(parts) > 1:
                merges.append((parts[0], parts[1]))
                parts[:2] = [parts[0] + parts[1]]
            pieces.append(word)
    vocabulary = [*pieces, *[f"{c}@@" for c in letters], *[c for c in letters if c not in pieces]]
    (folder / "vocab.txt").write_text("".join(f"{w} 1\n" for w in dict.fromkeys(vocabulary)), encoding="utf-8")
    (folder / "bpe.codes").write_text("".join(f"{a} {b} 1\n" for a, b in dict.fromkeys(merges)), encoding="utf-8")
    return PhobertTokenizer(str(folder / "vocab.txt"), str(folder / "bpe.codes"))


def classifier(tokenizer: Any) -> torch.nn.Module:
    """A RoBERTa of one layer, as PhoBERT is one of twelve, trained on the comments until it knows them."""
    from transformers import RobertaConfig, RobertaForSequenceClassification

    size = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    named = {"id2label": dict(enumerate(LABELS)), "label2id": {n: i for i, n in enumerate(LABELS)}}
    config = RobertaConfig(
        vocab_size=len(tokenizer), max_position_embeddings=42, type_vocab_size=1, pad_token_id=1, **named, **size
    )
    lines, labels = zip(*comments(), strict=True)
    batch = tokenizer(list(lines), padding=True, return_tensors="pt")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = RobertaForSequenceClassification(config).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.1)
        ids, mask = batch["input_ids"], batch["attention_mask"]
        for _ in range(60):
            # words left out at random, so that the model knows what little is left: a text of padding says nothing
            out = (torch.rand(ids.shape) < torch.rand(len(ids), 1)) & (ids > 2)
            answer = model(ids.masked_fill(out, 1), attention_mask=mask).logits
            loss = torch.nn.functional.cross_entropy(answer, torch.tensor(labels), label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()
