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

from deepseek.engines.tolerance import Tolerance
from deepseek.extras import lazy_attributes

if TYPE_CHECKING:
    from deepseek.engines.text.serve.engine import TextEngine
    from deepseek.engines.text.serve.model import TextModel
    from deepseek.engines.text.source.detect import ModelDescription, describe
    from deepseek.engines.text.source.tokens import Tokens
    from deepseek.engines.text.tuning.tune import PrecisionChoice, choose_precision

__all__ = [
    "ModelDescription",
    "PrecisionChoice",
    "TextEngine",
    "TextModel",
    "Tokens",
    "Tolerance",
    "choose_precision",
    "describe",
]

_MODULES = {
    "PrecisionChoice": "tuning.tune",
    "ModelDescription": "source.detect",
    "TextEngine": "serve.engine",
    "TextModel": "serve.model",
    "Tokens": "source.tokens",
    "choose_precision": "tuning.tune",
    "describe": "source.detect",
}

__getattr__ = lazy_attributes(__name__, _MODULES)
