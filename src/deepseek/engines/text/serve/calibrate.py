"""What goes into the dense layers of a model, measured on texts: needed before they run in int8.

    ranges = calibrate(Path("all-MiniLM"), texts)
    TextEngine.open("./all-MiniLM", precision="int8", ranges=ranges)

The texts should be like those that will be asked. Without any, sentences of several kinds and languages stand in, which
suits models for general use.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deepseek.engines.text.serve.model import TextModel
from deepseek.engines.text.serve.openvino_backend import OpenVinoBackend
from deepseek.engines.text.serve.quantize import ActivationRange
from deepseek.engines.text.source.folder import check_folder

MAX_TEXTS = 256
_BATCH_ROWS = 32
SAMPLE_TEXTS = (
    "The parcel arrived two days late and the box was open.",
    "How do I reset the password of my account?",
    "My card was charged twice for the same order, please help!",
    "The film is slow, but the last half hour makes up for all of it.",
    "In 1969 two people walked on the moon for the first time.",
    "def add(a, b): return a + b  # adds two numbers",
    "Quarterly revenue rose by 12.5 % to 3.4 billion, while costs fell.",
    "The patient reports mild pain in the left knee since Monday.",
    "Dr. Maria Keller of Northwind Bank in Geneva signed the contract on 3 May 2021.",
    "Preheat the oven to 180 degrees and bake the bread for forty minutes.",
    "ok",
    "NO!!! WHY WOULD ANYONE BUY THIS???",
    "See https://example.org/a?b=1&c=2 or write to someone@example.org.",
    "The court finds that the defendant did not act in good faith; the appeal is dismissed with costs.",
    "A bearing that runs hot and hums at twice its usual pitch should be replaced before it seizes.",
    "Wo finde ich die Rechnung für meine letzte Bestellung?",
    "Le train pour Lyon part à huit heures du matin.",
    "¿Puedo cambiar la dirección de entrega?",
    "我的银行卡丢了，应该怎么办？",
    "今天天气很好，我们去公园散步吧。",
    "明日の会議は何時からですか。",
    "Где находится ближайшая аптека?",
    "متى يصل الطلب؟",
    "I love it 😀👍",
)


def calibrate(
    path: str | Path, texts: Sequence[str] | None = None, *, num_threads: int = 1
) -> dict[str, ActivationRange]:
    """The range of what goes into each dense layer, by the layer's name in graph.py ("layer0.qkv"), measured on the
    first MAX_TEXTS of `texts`. Errors as TextModel.open and TextEngine.open."""
    folder = check_folder(path)
    model = TextModel.open(folder)
    tokens = model.prepare(list(texts or SAMPLE_TEXTS)[:MAX_TEXTS])
    backend = OpenVinoBackend(folder, num_threads=num_threads, observe=True)
    ranges: dict[str, ActivationRange] = {}
    rows = sorted(tokens, key=len)
    for start in range(0, len(rows), _BATCH_ROWS):
        backend.observe(model.join(rows[start : start + _BATCH_ROWS]), ranges)
    backend.close()
    return ranges
