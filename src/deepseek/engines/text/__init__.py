"""Text models from plain Hugging Face folders, without torch: BERT, DistilBERT, RoBERTa and XLM-RoBERTa in OpenVINO,
and other encoders where `deepseek convert` (convert.py) has made one graph of them.

what = describe("./all-MiniLM")                        "text" | "causal-lm" | "bundle" | ..., reads no weights
model = TextModel.open("./all-MiniLM")                 texts -> ids, outputs -> JSON rows; never imports openvino
engine = TextEngine.open("./all-MiniLM")               ids -> outputs; never imports tokenizers, unless it calibrates
choice = choose("./all-MiniLM", texts, Tolerance())    which precision is fastest within the stated tolerance

An embedding of one text, the whole way:

    tokens = model.prepare(["a text"])
    rows = model.answers(engine.run(model.join(tokens)), tokens)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.extras import lazily

if TYPE_CHECKING:
    from deepseek.engines.text.detect import Description, describe
    from deepseek.engines.text.engine import TextEngine
    from deepseek.engines.text.model import TextModel
    from deepseek.engines.text.tokens import Tokens
    from deepseek.engines.text.tolerance import Tolerance
    from deepseek.engines.text.tune import Choice, choose

__all__ = ["Choice", "Description", "TextEngine", "TextModel", "Tokens", "Tolerance", "choose", "describe"]

_MODULES = {
    "Choice": "tune",
    "Description": "detect",
    "TextEngine": "engine",
    "TextModel": "model",
    "Tokens": "tokens",
    "Tolerance": "tolerance",
    "choose": "tune",
    "describe": "detect",
}

__getattr__ = lazily(__name__, _MODULES)
