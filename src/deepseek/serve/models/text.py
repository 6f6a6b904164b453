"""The adapter of a text model: rows with one column, "text"; embeddings, classes or entities as predictions.

adapter = TextAdapter(TextModel.open("./all-MiniLM"), {"precision": "f32"})

Classes and embeddings are explained from the texts themselves: tokens alone do not say where they stand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from deepseek.bundle.manifest import Input
from deepseek.contracts import Arrays, Flag, Prediction, Record
from deepseek.data.table.columns import ColumnarRows
from deepseek.data.table.values import to_list
from deepseek.engines.process.attributions import pack_texts
from deepseek.errors import InputError
from deepseek.plugins import did_you_mean

if TYPE_CHECKING:
    from deepseek.bundle.report import Signature
    from deepseek.engines.text import TextEngine, TextModel, Tokens
    from deepseek.engines.text.serve.engine import TextEngineOptions
    from deepseek.serve.batching.processes import EngineSpec

TEXT_COLUMN = "text"


@dataclass(frozen=True, slots=True)
class TextCard:
    """The card of a text model: one input column, its task and labels."""

    task: str
    labels: tuple[str, ...]
    digest: str
    created: str = ""
    target: str = ""
    threshold: float | None = None
    inputs: tuple[Input, ...] = (Input(TEXT_COLUMN, "text", "str"),)


@dataclass(frozen=True, slots=True)
class TokenizedRows:
    """Tokenized rows."""

    features: Tokens
    flags: tuple[Flag, ...]


class TextAdapter:
    """The adapter of a folder that engines.text opens. `options` of its engine: precision, activation ranges as bytes.
    `measured`: the figures of each precision, when it was chosen by them."""

    is_joinable = True
    is_deterministic = True
    row_cells = 30  # 40 us for a sentence
    row_units = 128  # tokens: shorter texts fill a batch by their number
    version = "1"

    def __init__(
        self, model: TextModel, options: Mapping[str, Any], measured: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        self.model = model
        self.precision: str = options.get("precision", "f32")
        self.measured = measured
        self.name = model.name
        self.bundle_signature: Signature = "none"  # of the bundle around it, if there is one
        self.card = TextCard(model.task, model.labels, model.digest)
        self.example: Record = dict(model.example)
        self._options = cast("TextEngineOptions", dict(options))
        self._engine: TextEngine | None = None

    @property
    def runtime(self) -> TextAdapter | None:
        """The object that an explainer is made from: model and run(). None: labels of tokens are not explained."""
        return None if self.card.task == "token-classification" else self

    @property
    def spec(self) -> EngineSpec:
        path = str(self.model.path.absolute())
        return {"kind": "text", "path": path, "digest": self.card.digest, "options": self._options}

    @property
    def typical_prediction(self) -> Prediction:
        if self.card.task == "embedding":
            return Prediction(embeddings=np.zeros((1, self.model.size), np.float32))
        if self.card.task == "token-classification":
            return Prediction(entities=((),))
        shares = np.full((1, len(self.card.labels)), 1 / len(self.card.labels), np.float32)
        return Prediction(self.card.labels, np.asarray(self.card.labels[:1]), shares)

    def prepare(self, records: Sequence[Record]) -> TokenizedRows:
        """Tokens of the rows' texts. InputError names the row that has no text, or another column."""
        if isinstance(records, ColumnarRows) and records.names == (TEXT_COLUMN,):
            texts = list(to_list(records.values[0]))
        else:
            texts = [_row_text(record, row) for row, record in enumerate(records)]
        tokens = self.model.prepare(texts)
        flags = tuple(
            Flag(row, TEXT_COLUMN, "truncated") for row, row_tokens in enumerate(tokens) if row_tokens.truncated
        )
        return TokenizedRows(tokens, flags)

    def explainer_inputs(self, records: Sequence[Record]) -> list[str]:
        """The input of an explainer for rows that prepare() has checked: their texts."""
        return [_row_text(record, row) for row, record in enumerate(records)]

    def join_explainer_inputs(self, rows: list[list[str]]) -> Arrays:
        """The texts of several requests as arrays for the explaining process."""
        return pack_texts([text for texts in rows for text in texts])

    def from_ids(self, ids: Sequence[Sequence[int]]) -> TokenizedRows:
        """Rows from token ids of a client, cut to the longest that the model reads."""
        from deepseek.engines.text.source.tokens import TokenRow, Tokens

        limit = self.model.max_tokens
        rows = [TokenRow(np.array(row[:limit], np.int64), truncated=len(row) > limit) for row in ids]
        flags = tuple(
            Flag(row, TEXT_COLUMN, "truncated") for row, row_tokens in enumerate(rows) if row_tokens.truncated
        )
        return TokenizedRows(Tokens(rows), flags)

    def warm_up_rows(self, num_rows: int) -> Tokens:
        return self.prepare([self.example] * num_rows).features

    def can_join(self, rows: Any, others: Any) -> bool:
        return True

    def identity(self, features: Tokens) -> tuple[tuple[bytes, str], ...]:
        """A key of the tokens and texts. Entities are cut out of the text, and "Rome" and "rome" may be one token."""
        return tuple((row.ids.tobytes(), row.text) for row in features.rows)

    def cost(self, features: Tokens) -> int:
        return sum(map(len, features.rows))  # faster than an array for few rows

    def join(self, rows: list[Tokens]) -> Arrays:
        return self.model.join([row for tokens in rows for row in tokens])

    def concat(self, outputs: list[Arrays]) -> Arrays:
        """The outputs of all slices. Where each token has one, they are padded to the longest text."""
        return {name: _concat_padded([part[name] for part in outputs]) for name in outputs[0]}

    def run(self, arrays: Arrays) -> Arrays:
        if self._engine is None:
            from deepseek.engines.text import TextEngine

            self._engine = TextEngine.from_options(self.model.path, self._options)
        return self._engine.run(arrays)

    def decide(self, outputs: Arrays, rows: Sequence[Any], row_flags: Sequence[Flag]) -> Prediction:
        flags = tuple(row_flags)
        if self.card.task == "embedding":
            return Prediction(embeddings=outputs["embedding"], flags=flags)
        if self.card.task == "token-classification":
            answers = self.model.answers(outputs, rows)
            return Prediction(entities=tuple(tuple(answer["entities"]) for answer in answers), flags=flags)
        shares = self.model.probabilities(outputs, rows).astype(np.float32)
        labels = np.asarray(self.card.labels)[shares.argmax(axis=1)]
        return Prediction(self.card.labels, labels, shares, flags=flags)

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()


def _row_text(record: Record, row: int) -> str:
    """The text of a row, of any type: the tokenizer refuses what is no text."""
    if len(record) == 1 and TEXT_COLUMN in record:
        text: str = record[TEXT_COLUMN]
        return text
    unknown = next((name for name in record if name != TEXT_COLUMN), None)
    if unknown is None:
        raise InputError(
            f'row {row} has no "{TEXT_COLUMN}"', expected=f'{{"{TEXT_COLUMN}": "..."}}', fix="give it a text"
        )
    raise InputError(
        f"row {row} has a column {str(unknown)[:100]!r} that the model does not know."
        f"{did_you_mean(str(unknown)[:100], [TEXT_COLUMN])}",
        expected=f'{{"{TEXT_COLUMN}": "..."}}',
        fix="leave it out",
    )


def _concat_padded(arrays: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    if arrays[0].ndim < 3:
        return np.concatenate(arrays)
    longest = max(array.shape[1] for array in arrays)
    return np.concatenate([np.pad(array, ((0, 0), (0, longest - array.shape[1]), (0, 0))) for array in arrays])
