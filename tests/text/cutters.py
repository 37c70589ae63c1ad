"""Small tokenizers of every kind, trained in a moment on a few sentences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

CORPUS = [
    "the film was unbelievably lovely, and nobody could say why!", "a café in São Paulo: coffee, cake & a view",
    "don't you think it's lovely? I'd say it's not.", "tôi thích sản phẩm này, rất tốt", "这部电影很好看",
    "今日は天気がいい",
    "films and film makers; lovely lovelier loveliest", "unbelievable, believable, believe", "email: a@b.c 100% 3.14",
]  # fmt: skip
TEXTS = [
    "the film was unbelievably lovely!", "don't say café", "  two  spaces\nand a line ", "emoji 😀 and 👨‍👩‍👧 family",
    "film😀film",
    "这部电影 very good", "今日は天気", "tôi thích sản_phẩm này", "مرحبا بالعالم",
    "e\u0301te\u0301 a\u0302", "100% (a@b.c)", "x", "ﬁlm Ⅳ",
]  # fmt: skip


def wrapped(made: tokenizers.Tokenizer, names: dict[str, str]) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=made, **names)


def _framed(made: tokenizers.Tokenizer, first: str, last: str, types: int = 1) -> None:
    pair = f"{first} $A {last} $B:{types} {last}:{types}"
    ids = [(t, made.token_to_id(t)) for t in dict.fromkeys((first, last))]
    made.post_processor = processors.TemplateProcessing(single=f"{first} $A {last}", pair=pair, special_tokens=ids)


BERT = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
ROBERTA = {"unk_token": "<unk>", "pad_token": "<pad>", "cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>"}


def word_piece() -> Any:
    """As BERT has it, without case and accents."""
    made = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=160, special_tokens=list(BERT.values())))
    _framed(made, "[CLS]", "[SEP]")
    return wrapped(made, BERT)


def byte_level() -> Any:
    """As RoBERTa and GPT-2 have it: letters of the vocabulary stand for bytes."""
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=list(ROBERTA.values()), initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(CORPUS, trainer)
    _framed(made, "<s>", "</s>", 0)
    return wrapped(made, ROBERTA)


def metaspace() -> Any:
    """As SentencePiece's unigrams, of XLM-R and T5."""
    made = tokenizers.Tokenizer(models.Unigram())
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=list(ROBERTA.values()), unk_token="<unk>", show_progress=False
    )
    made.train_from_iterator(CORPUS, trainer)
    _framed(made, "<s>", "</s>", 0)
    return wrapped(made, ROBERTA)


MADE: dict[str, Callable[[], Any]] = {"WordPiece": word_piece, "byte-level BPE": byte_level, "Metaspace": metaspace}
