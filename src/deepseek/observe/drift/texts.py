"""Free texts and files as numbers that can drift: what a log keeps of them, and where the bundle knows words, what they
are about.

A text has a length, words, and shares of capitals, digits, other signs and Chinese characters. Where the bundle has an
encoder of the column, a text is also weighed by the n-grams that training knew, in the few directions in which earlier
texts differ most (latent semantic analysis: Deerwester et al. 1990), and has a share of words that are unknown. Of a
file the log keeps its size, and of a picture what is in it (predictions/pictures.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from deepseek.bundle.agreement import PREPROCESS
from deepseek.bundle.read import Bundle
from deepseek.contracts import Float64
from deepseek.data.features.ngrams import normalize_text, split_words
from deepseek.data.features.prepare import Preprocessor
from deepseek.data.features.texts import TextEncoder
from deepseek.extras import need
from deepseek.observe.drift.scores import ColumnValues, LevelColumn, NumberColumn

MIN_WORDS = 3.0  # of a text, on average: below it is a name
MIN_DISTINCT = 0.3  # of the texts: below it is a category
NUM_DIRECTIONS = 6
FILE = re.compile(r"<(\w+) of (\d+)>")  # as the prediction log writes what is no text
CUT = re.compile(r"… \((\d+) characters\)$")


def read_text_encoders(bundle: Bundle) -> dict[str, TextEncoder]:
    """The encoders of the bundle's columns of free text, by column."""
    if not bundle.has(PREPROCESS):
        return {}
    columns = Preprocessor.from_bytes(bundle.read(PREPROCESS)).columns
    return {each.name: each.coder for each in columns if isinstance(each.coder, TextEncoder)}


class TextDescriber:
    """Replaces columns of free texts and of files by columns of numbers; fitted on earlier rows."""

    def __init__(self, past: Sequence[ColumnValues], encoders: Mapping[str, TextEncoder], prefix: str = "") -> None:
        self._directions: dict[str, Callable[[Sequence[str | None]], list[tuple[str, Float64]]]] = {}
        self._described = {each.name for each in past if isinstance(each, LevelColumn) and _is_described(each.values)}
        for column in past:
            encoder = encoders.get(column.name.removeprefix(prefix))
            if encoder is not None and column.name in self._described:
                self._directions[column.name] = _fit_directions(encoder, column.values.tolist())

    def describe(self, columns: Sequence[ColumnValues]) -> list[ColumnValues]:
        """The columns, with those of texts and files replaced."""
        described = []
        for column in columns:
            if column.name not in self._described or isinstance(column, NumberColumn):
                described.append(column)
                continue
            texts = column.values.tolist()
            named = _measure(texts)
            if column.name in self._directions:
                named += self._directions[column.name](texts)
            described += [NumberColumn(f"{column.name}: {name}", values) for name, values in named]
        return described


def _is_described(levels: NDArray[np.object_]) -> bool:
    """Whether the values are free texts, or files."""
    known = [value for value in levels if value is not None]
    if not known:
        return False
    if sum(FILE.fullmatch(value) is not None or CUT.search(value) is not None for value in known) > len(known) / 2:
        return True
    num_words = float(np.mean([len(value.split()) for value in known]))
    has_chinese = any("一" <= sign <= "鿿" for value in known[:100] for sign in value)
    return len(set(known)) >= MIN_DISTINCT * len(known) and (num_words >= MIN_WORDS or has_chinese)


def _measure(texts: Sequence[str | None]) -> list[tuple[str, Float64]]:
    """What is measured of each text (N,), NaN where it is missing; of files the size alone."""
    files = [None if text is None else FILE.fullmatch(text) for text in texts]
    if any(files):
        sizes = [float(each.group(2)) if each else np.nan for each in files]
        return [("size", np.array(sizes))]
    return [(name, np.array([np.nan if text is None else measure(text) for text in texts])) for name, measure in PARTS]


def _length(text: str) -> float:
    cut = CUT.search(text)
    return float(cut.group(1)) if cut else float(len(text))


def _share(is_such: Callable[[str], bool]) -> Callable[[str], float]:
    return lambda text: sum(map(is_such, text)) / max(1, len(text))


PARTS: tuple[tuple[str, Callable[[str], float]], ...] = (
    ("length", _length),
    ("words", lambda text: float(len(text.split()))),
    ("capitals", _share(str.isupper)),
    ("digits", _share(str.isdigit)),
    ("signs", _share(lambda sign: not sign.isalnum() and not sign.isspace())),
    ("Chinese", _share(lambda sign: "一" <= sign <= "鿿")),
)


def _fit_directions(
    encoder: TextEncoder, past: Sequence[str | None]
) -> Callable[[Sequence[str | None]], list[tuple[str, Float64]]]:
    """How texts are placed in the directions in which these differ most."""
    need("sklearn", extra="tabular")
    from scipy.sparse import csr_array
    from sklearn.decomposition import TruncatedSVD

    block = encoder.words

    def weigh(texts: Sequence[str | None]) -> tuple[csr_array, Float64]:
        """Weights of the known words (N, V), and the share of unknown ones (N,)."""
        places, columns, weights, unknown = [], [], [], np.full(len(texts), np.nan)
        for row, text in enumerate(texts):
            words = split_words(normalize_text(text or ""))
            numbers, values, _ = block.weigh(words, encoder.num_rows)
            places += [row] * len(numbers)
            columns += numbers
            weights += values
            if words:
                known = {block.terms[number] for number in numbers}
                unknown[row] = sum(word not in known for word in words) / len(words)
        shape = (len(texts), max(1, len(block.terms)))
        return csr_array((np.array(weights, np.float64), (places, columns)), shape=shape), unknown

    matrix, _ = weigh(past)
    num_directions = min(NUM_DIRECTIONS, matrix.shape[1] - 1, matrix.shape[0] - 1)
    model = TruncatedSVD(num_directions, random_state=0).fit(matrix) if num_directions > 0 and matrix.nnz else None

    def place(texts: Sequence[str | None]) -> list[tuple[str, Float64]]:
        weights, unknown = weigh(texts)
        named = [("unknown words", unknown)]
        if model is not None:
            placed = model.transform(weights)
            named += [(f"subject {number + 1}", placed[:, number]) for number in range(placed.shape[1])]
        return named

    return place
