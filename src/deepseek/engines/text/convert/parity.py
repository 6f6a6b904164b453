"""Whether a converted folder answers as transformers does: each text alone there, alone and in padded batches here.

    parity = compare_answers(folder, reference, progress)      # CheckError above MAX_RELATIVE_DIFFERENCE

Texts are sentences of several kinds and languages, some joined, and one as long as the folder reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.engines.text.serve.calibrate import SAMPLE_TEXTS
from deepseek.engines.text.serve.engine import TextEngine
from deepseek.engines.text.serve.model import TextModel
from deepseek.engines.text.source.pooling import pool_tokens
from deepseek.engines.text.source.tokens import TokenRow
from deepseek.errors import CheckError, InputError, IntegrityError

#: The largest difference of an embedding's numbers or of logits, as a share of the largest of them, 1 at the least.
MAX_RELATIVE_DIFFERENCE = 1e-4
_MIXED_BATCH_ROWS = 5  # rows of a batch of texts that differ much in length
_FIX = "run the model with transformers itself, or export it to ONNX yourself and serve that file"
Reference = Callable[[NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Parity:
    """How far the answers were from those of transformers."""

    num_texts: int
    num_batches: int
    longest_tokens: int
    difference: float  # the largest, of any number in an embedding or of any logit
    largest: float  # of the numbers that were compared
    cosine: float  # the least, of the answers to one text
    limit: float


def compare_answers(folder: Path, reference: Reference, progress: Callable[[float], object]) -> Parity:
    """How far a folder's answers are from those of `reference`, a function of the ids of one text. CheckError when it
    is more than MAX_RELATIVE_DIFFERENCE, or when OpenVINO cannot run the graph."""
    model = TextModel.open(folder)
    try:
        engine = TextEngine.open(folder)
    except IntegrityError as error:
        raise CheckError(
            f"what torch has recorded cannot be run: {error.message}", expected="a graph that OpenVINO runs", fix=_FIX
        ) from error
    rows = sorted(_prepare_texts(model), key=len, reverse=True)
    expected = []
    for number, row in enumerate(rows):  # the longest first: it may be computed in another way, or not at all
        expected.append(_reference_answer(model, reference(row.ids), len(row)))
        progress(0.4 + 0.4 * number / len(rows))
    difference, cosine = 0.0, 1.0
    batches = comparison_batches(len(rows))
    for number, batch in enumerate(batches):
        answers = _engine_answers(model, engine, [rows[index] for index in batch])
        for index, answer in zip(batch, answers, strict=True):
            difference = max(difference, _max_abs(answer - expected[index]))
            cosine = min(cosine, _cosine(answer, expected[index]))
        progress(0.8 + 0.2 * number / len(batches))
    engine.close()
    largest = max(_max_abs(answer) for answer in expected)
    parity = Parity(len(rows), len(batches), len(rows[0]), difference, largest, cosine, MAX_RELATIVE_DIFFERENCE)
    if not difference <= MAX_RELATIVE_DIFFERENCE * max(1.0, largest) or not np.isfinite(largest):
        raise CheckError(
            f"the answers differ from those of transformers by {difference:.2g}, cosine {cosine:.6f}, of numbers up to "
            f"{largest:.3g}",
            expected=f"at most {MAX_RELATIVE_DIFFERENCE:g} of the largest number, for texts alone and in padded "
            "batches",
            fix="this architecture computes otherwise for other lengths or padding, which one graph does not hold: run "
            "it with transformers itself, or convert it for shorter texts with --max-tokens",
        )
    return parity


def _prepare_texts(model: TextModel) -> list[TokenRow]:
    """The rows of tokens of all texts; of the empty one where the tokenizer puts special tokens around each."""
    texts = comparison_texts(model.max_tokens)
    rows = list(model.prepare([text for text in texts if text]))
    with suppress(InputError):  # it has no token
        rows += model.prepare([""])
    return rows


def comparison_texts(max_tokens: int) -> list[str]:
    """Sentences, paragraphs, one text of at least `max_tokens` words, one of a letter and an empty one, which is a text
    to a tokenizer that puts special tokens around each."""
    whole = " ".join(SAMPLE_TEXTS)
    joined = [" ".join(SAMPLE_TEXTS[start : start + size]) for size in (2, 3, 6, 12) for start in (0, 9)]
    return ["", "a", *SAMPLE_TEXTS, *joined, " ".join([whole] * (1 + max_tokens // len(whole.split())))]


def comparison_batches(num_rows: int) -> list[list[int]]:
    """Batches as indices of rows, which stand in the order of their length: alone, the longest with the shortest, some
    of all lengths, and many of like length."""
    step = -(-num_rows // _MIXED_BATCH_ROWS)
    mixed = [list(range(start, num_rows, step)) for start in range(step)]
    return [[0], [num_rows - 1], [0, num_rows - 1], *mixed, list(range(num_rows // 3, num_rows))]


def _engine_answers(model: TextModel, engine: TextEngine, rows: Sequence[TokenRow]) -> list[NDArray[Any]]:
    """The engine's output for each row of a batch, without padding."""
    (output,) = engine.run(model.join(rows)).values()
    if model.task != "token-classification":
        return list(output)
    return [answer[: len(row)] for answer, row in zip(output, rows, strict=True)]


def _reference_answer(model: TextModel, output: NDArray[Any], length: int) -> NDArray[Any]:
    """The output of transformers for one text of `length` tokens, pooled as the folder pools."""
    if model.task == "embedding":
        return np.asarray(pool_tokens(output, np.ones((1, length), np.int64), model.pooling)[0])
    return np.asarray(output[0])


def _max_abs(numbers: NDArray[Any]) -> float:
    return float(np.nan_to_num(np.abs(numbers), nan=np.inf).max(initial=0.0))


def _cosine(one: NDArray[Any], other: NDArray[Any]) -> float:
    lengths = np.linalg.norm(one) * np.linalg.norm(other)
    return float(np.nan_to_num((one * other).sum() / max(lengths, 1e-12), nan=-1.0))
