"""`TextExplainer`: from strings to an answer about them; what its kinds share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from enodo.core.absence import Absence
from enodo.core.errors import BadType, refuse
from enodo.core.explain import explain
from enodo.core.features import Features
from enodo.core.points import INPUT
from enodo.core.registry import card_of
from enodo.core.targets import tensor_of
from enodo.text.baselines import known, replaced, token_of
from enodo.text.batch import IDS, MASK, Batch, device_of, limit_of, listed, names_of, padded
from enodo.text.reading import Reading, read
from enodo.text.result import TextAttribution, joined
from enodo.text.units import grouped, shares

CHUNK = 16  # rows of a pass that only asks what the model answers
ALIKE = 1e-3  # difference of two answers, as a share of their size, that rounding may make


# (a batch, which of all rows it has) -> its target, its readings with what the model says about them
Settle = Callable[[Batch, Sequence[int]], tuple[Any, list[Reading]]]


class TextExplainer:
    """A model and its tokenizer, ready to be asked about strings.

    model       of the transformers library, or any callable that takes token ids and returns scores or a mapping with
                `logits`; what a tokenizer gives besides the ids goes to the models that take it
    tokenizer   of the transformers library, fast or slow
    classes     the names of the outputs; those of the model's config where it has them
    max_length  the most tokens of a text; as many as the model has positions for where it is not given. What lies
                beyond is left out, and the answer says so
    """

    def __init__(
        self, model: Any, tokenizer: Any, *, classes: Sequence[str] | None = None, max_length: int | None = None
    ) -> None:
        if not callable(model):
            refuse("model", model, "a model", kind=BadType)
        if not callable(tokenizer) or not hasattr(tokenizer, "convert_ids_to_tokens"):
            instead = "Write AutoTokenizer.from_pretrained(...)."
            refuse("tokenizer", tokenizer, "a tokenizer of the transformers library", instead, BadType)
        self.model, self.tokenizer = model, tokenizer
        self.names = names_of(model)
        self.limit = max_length or limit_of(model, tokenizer)
        self.config = getattr(model, "config", None)
        named = getattr(self.config, "id2label", None) or {}
        self.classes = list(classes) if classes is not None else [str(named[i]) for i in sorted(named)] or None

    # ------------------------------------------------------------ reading
    def batch(self, text: Any, pair: Any = None) -> Batch:
        """A string, a pair or a list of either as tensors on the model's device."""
        found = [read(self.tokenizer, first, second, self.limit) for first, second in listed(text, pair)]
        readings, rows = [reading for reading, _ in found], [row for _, row in found]
        for reading in readings:
            if not reading.tokens:
                refuse("text", repr(reading.segments[0]), "a text with at least one token")
        pad = self.tokenizer.pad_token_id
        inputs = padded(rows, self.names, 0 if pad is None else pad)
        where = device_of(self.model)
        longest = max(len(r.tokens) for r in readings)
        spans = [[*r.spans, *[None] * (longest - len(r.tokens))] for r in readings]
        own = torch.tensor([[span is not None for span in row] for row in spans])
        real = torch.arange(longest) < torch.tensor([[len(r.tokens)] for r in readings])
        return Batch(readings, {k: v.to(where) for k, v in inputs.items()}, real, own)

    def output(self, batch: Batch) -> Any:
        """What the model answers, without gradients."""
        with torch.no_grad():
            return self.model(**batch.inputs)

    def outputs(self, batch: Batch, part: Callable[[Any], Tensor] = tensor_of) -> Tensor:
        """A tensor of the answers (B, ...), asked for a few rows at a time."""
        rows = range(len(batch.readings))
        found = [part(self.output(batch.take(rows[i : i + CHUNK]))) for i in rows[::CHUNK]]
        widths = [max(t.shape[1] for t in found)] if found[0].ndim > 1 and len(found) > 1 else []
        wide = [torch.nn.functional.pad(t, (*[0, 0] * (t.ndim - 2), 0, w - t.shape[1])) for t in found for w in widths]
        return torch.cat(wide or found).detach().to("cpu").double()

    def _groups(self, batch: Batch) -> list[list[int]]:
        """The rows that can be asked about together: all, or those of one length where filling changes an answer."""
        lengths = batch.real.sum(1).tolist()
        short, long = min(lengths), max(lengths)
        if short == long or self._ignores_filling(batch, lengths.index(short), lengths.index(long)):
            return [list(range(len(lengths)))]
        return [[i for i, n in enumerate(lengths) if n == length] for length in sorted(set(lengths))]

    def _ignores_filling(self, batch: Batch, short: int, long: int) -> bool:
        try:
            filled, bare = (tensor_of(self.output(batch.take(rows)))[0] for rows in ([short, long], [short]))
        except (RuntimeError, ValueError):  # a model that takes one text at a time
            return False
        filled = filled[tuple(slice(0, n) for n in bare.shape)]
        return bool((filled - bare).abs().max() <= ALIKE * bare.abs().max())

    # ------------------------------------------------------------ asking
    def explain(self, batch: Batch, settle: Settle, **how: Any) -> TextAttribution:
        """The answer about a batch, of which `settle` tells the target; see `about` for the options."""
        parts = []
        for rows in self._groups(batch):
            part = batch.take(rows)
            target, readings = settle(part, rows)
            parts.append((rows, self.about(part, readings, target, **how)))
        return parts[0][1] if len(parts) == 1 else joined(parts)

    def about(
        self,
        batch: Batch,
        readings: Sequence[Reading],
        target: Any,
        *,
        method: Any = "integrated_gradients",
        baseline: Any = None,
        special: str = "keep",
        level: str | None = None,
        wrt: Any = None,
        **options: Any,
    ) -> TextAttribution:
        """`enodo.explain` asked about texts; options that are not named here are its own and the method's.

        baseline  what stands in the place of the words: "pad", "mask", "unk" or any other token, its id, "zero" (zero
                  word vectors), or ids (B, T); without one, the first of these that the tokenizer has. Methods that
                  take words away have "masked" (by the attention mask) and "dropped" as well
        special   "keep": tokens that the tokenizer adds stand in the baseline as well, and so get nothing; "baseline":
                  they are compared as all others are
        level     "word", "token" or "sentence": what methods that take parts of a text away take away together. Each
                  of its tokens has an equal share of what it gets
        wrt       a layer instead of the tokens
        """
        card = card_of(method)
        if special not in ("keep", "baseline"):
            refuse("special", repr(special), '"keep" or "baseline"')
        if getattr(self.config, "pad_token_id", 0) is None:
            options.setdefault("batch_size", 1)  # such models look for a text's end, and take one row at a time
        share = batch.real.double()  # nothing for the filling, where rounding may have left traces
        if "features" in card.options and "features" not in options and wrt is None:
            groups = grouped(readings, level or "word", special == "keep")
            options["features"] = Features.tokens(groups)
            share = shares(groups, batch.real)
        elif level is not None:
            refuse("level", repr(level), f"a method with `features`, which {card.name} has not", "Read its words().")
        reference = self.reference(batch, baseline, special, "absence" in card.needs)
        place = INPUT[self.names[IDS]] if wrt is None else wrt
        found = explain(self.model, batch.inputs, method, target=target, baseline=reference, wrt=place, **options)
        if wrt is None:
            found.values = found.tensor * share.to(found.tensor)
            found.stderr = None if found.stderr is None else found.stderr * share.to(found.tensor)
        found.class_names = self.classes
        found.notes += [
            f"Only the first {len(r.tokens):,} of {len(r.tokens) + r.unread:,} tokens were read."
            for r in readings if r.unread
        ]  # fmt: skip
        return TextAttribution.over(found, readings)

    def reference(self, batch: Batch, baseline: Any, special: str, away: bool = False) -> Any:
        """The baseline for a batch, as `enodo.explain` takes it; `away`: for a method that takes tokens away."""
        baseline = known(self.tokenizer)[0] if baseline is None else baseline
        name = self.names[IDS]
        if isinstance(baseline, str) and baseline in ("masked", "dropped"):
            return getattr(Absence, baseline)(self.names.get(MASK, MASK))
        if isinstance(baseline, str) and baseline == "zero":
            if away:
                refuse("baseline", "'zero' with a method that takes tokens away", "a token, 'masked' or 'dropped'")
            return None
        if isinstance(baseline, (str, int)):
            kept = ~batch.own if special == "keep" else ~batch.real
            return {name: replaced(batch.inputs[name], kept, token_of(self.tokenizer, baseline))}
        return {name: baseline} if isinstance(baseline, Tensor) else baseline
