"""A BERT classifier whose last layer is computed for the [CLS] token alone, which is all that its pooler reads.

    module = ClsOnlyClassifier(bert_for_sequence_classification)
    logits = module(input_ids=ids, attention_mask=mask)        # (N, C), the very ones of the whole model

A student of one layer trains with a third of the work: only its keys and values are computed for every token.
Attention is written out, which for short texts costs less than torch's fused kernel on a CPU, whose backward pass was a
quarter of a step.
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

PADDING_SCORE = -1e9  # added to the attention scores of padding, so that its softmax weight is 0


class ClsOnlyClassifier(nn.Module):
    """Shares the weights of `model`, transformers' BertForSequenceClassification, which stays as it is."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits (N, C) from token ids (N, L) and a mask (N, L), 0 for padding."""
        bert = self.model.bert
        states, padding_scores = (
            bert.embeddings(input_ids=input_ids),
            (1 - attention_mask[:, None, None].float()) * PADDING_SCORE,
        )
        *before, last = bert.encoder.layer
        for layer in before:
            states = layer_output(layer, states, states, padding_scores)
        logits: Tensor = self.model.classifier(
            self.model.dropout(bert.pooler(layer_output(last, states[:, :1], states, padding_scores)))
        )
        return logits


def layer_output(layer: Any, queries: Tensor, states: Tensor, padding_scores: Tensor) -> Tensor:
    """What a BertLayer gives for `places` (N, P, D), which look at all `states` (N, L, D)."""
    attention = layer.attention.self
    size = attention.attention_head_size

    def heads(projected: Tensor) -> Tensor:
        return projected.view(*projected.shape[:2], -1, size).transpose(1, 2)  # (N, H, P or L, D / H)

    query, key, value = heads(attention.query(queries)), heads(attention.key(states)), heads(attention.value(states))
    weights = ((query @ key.transpose(2, 3)).float() / math.sqrt(size) + padding_scores).softmax(-1)
    attended = (attention.dropout(weights).to(value.dtype) @ value).transpose(1, 2).flatten(2)
    mixed = layer.attention.output(attended, queries)
    output: Tensor = layer.output(layer.intermediate(mixed), mixed)
    return output
