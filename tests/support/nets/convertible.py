"""Small Hugging Face folders with random weights of encoders that are not built here, made by transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

from support.nets.textfolders import HIDDEN, LABELS, LAYERS, POSITIONS, WIDE, tokenizer_of

SIZES: dict[str, Any] = {
    "hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": 4, "intermediate_size": WIDE,
    "max_position_embeddings": POSITIONS, "pad_token_id": 0, "initializer_range": 0.3,
}  # fmt: skip
OWN: dict[str, dict[str, Any]] = {
    "albert": {"embedding_size": 16},
    "deberta-v2": {
        "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 16,
        "norm_rel_ebd": "layer_norm", "share_att_key": True, "position_biased_input": False, "type_vocab_size": 0,
    },
    "modernbert": {"bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3, "local_attention": 8},
    "mpnet": {"pad_token_id": 1, "max_position_embeddings": POSITIONS + 2},
}  # fmt: skip
AUTO = {
    "embedding": transformers.AutoModel,
    "sequence-classification": transformers.AutoModelForSequenceClassification,
    "token-classification": transformers.AutoModelForTokenClassification,
}


def make_convertible(folder: Path, kind: str, task: str = "embedding", **changes: Any) -> Path:
    """A folder of `kind` (its model_type) that knows the words of textfolders."""
    tokenizer = tokenizer_of("bert")
    labels = dict(enumerate(LABELS.get(task, ("a", "b"))))
    sizes = {**SIZES, **OWN.get(kind, {}), "vocab_size": tokenizer.get_vocab_size(), "id2label": labels, **changes}
    torch.manual_seed(0)
    model = AUTO[task].from_config(transformers.AutoConfig.for_model(kind, **sizes))
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
