"""`XAI`: one text, its recorded label, a tokenizer, a model and a device, explained in two calls."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from enodo.core.errors import BadType, refuse
from enodo.text.batch import IDS
from enodo.text.classify import TextClassifierExplainer
from enodo.text.result import TextAttribution


class XAI:
    """Why a classifier of texts gives a text its class, word by word, compared with a reference without words.

    >>> explain = XAI(text, label, tokenizer, model, device)  # doctest: +SKIP
    >>> explain.construct_input_ref_pair()  # doctest: +SKIP
    >>> explain.process()  # a notebook shows the coloured sentence  # doctest: +SKIP

    label   the recorded answer, by name or number; None where there is none
    device  where to compute; the model is moved there, and put into eval mode
    more    as `TextClassifierExplainer` has it: classes, max_length
    """

    def __init__(
        self, text: str, label: Any, tokenizer: Any, model: nn.Module, device: Any = None, **more: Any
    ) -> None:
        if not isinstance(model, nn.Module):
            refuse("model", model, "an nn.Module", kind=BadType)
        if device is not None:
            model.to(torch.device(device))
        model.eval()
        self.text, self.label = text, label
        self.explainer = TextClassifierExplainer(model, tokenizer, **more)
        self.compared: dict[str, Any] = {}

    def construct_input_ref_pair(self, baseline: Any = None, special: str = "keep") -> tuple[Tensor, Tensor | None]:
        """The token ids of the text and of its reference, (1, T) both, which has padding in the place of the words.

        Another `baseline`, and what becomes of `special` tokens, is as `TextExplainer.about` has it; the reference is
        None where it is not made of tokens.
        """
        batch = self.explainer.batch(self.text)
        found = self.explainer.reference(batch, baseline, special)
        self.compared = {"baseline": baseline, "special": special}
        name = self.explainer.names[IDS]
        return batch.inputs[name], found[name] if isinstance(found, dict) else None

    def process(self, target: Any = "predicted", method: Any = "integrated_gradients", **how: Any) -> TextAttribution:
        """Explain the class predicted, or `target`, from the reference; `how` as for `TextClassifierExplainer`."""
        how = {"target": target, "label": self.label, "method": method} | self.compared | how
        return self.explainer(self.text, **how)
