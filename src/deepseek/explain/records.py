"""The explanation document, part by part: frozen records, each of which becomes JSON by its to_dict().

    result = explain_bundle("loans", "new.csv")
    result.importance[0].column              by attribute
    result["importance"][0]["column"]        by the key of the JSON object, as report/report.schema.json names it
    result.to_dict()                         what `explain --json` prints

A field's key in JSON is its name, unless its metadata say otherwise; keys stand in the order of the fields. The whole
document is report/explanation.py, what the parts of a text or picture add is media/records.py, and how far explanations
hold is evaluation/records.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypedDict

from deepseek.contracts import Figure, JsonObject, Record

OPTIONAL = {"is_optional": True}  # metadata of a field that the JSON object lacks where it is None


class JsonRecord(Mapping[str, Any]):
    """A frozen dataclass that is the mapping of its JSON object, too: arrays are lists there, and records mappings."""

    __slots__ = ()

    def _items(self) -> JsonObject:
        """The JSON object one level deep: records in it are still records."""
        items = {}
        for item in fields(self):  # type: ignore[arg-type]  # every subclass is a dataclass
            value = getattr(self, item.name)
            if value is not None or not item.metadata.get("is_optional"):
                value = value.to_dict() if isinstance(value, Figure) else value
                items[item.metadata.get("key", item.name)] = list(value) if isinstance(value, tuple) else value
        return items

    def to_dict(self) -> JsonObject:
        """The JSON object, of dicts, lists, text and numbers alone; numbers that are not finite stay as they are."""
        return {key: to_json(value) for key, value in self._items().items()}

    def __getitem__(self, key: str) -> Any:
        return self._items()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items())

    def __len__(self) -> int:
        return len(self._items())


def to_json(value: Any) -> Any:
    """A field's value as JSON holds it: records and mappings as dicts, tuples as lists.

    >>> to_json((LabelCount("yes", 3),))
    [{'label': 'yes', 'num_rows': 3}]
    """
    if isinstance(value, JsonRecord):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {key: to_json(entry) for key, entry in value.items()}
    return [to_json(entry) for entry in value] if isinstance(value, (list, tuple)) else value


@dataclass(frozen=True, slots=True, eq=False)
class AdditivityCheck(JsonRecord):
    """How far base value and contributions are from the output, over many rows (the completeness axiom)."""

    max_abs_residual: float  # on the scale of the attribution
    mean_abs_residual: float
    max_relative_residual: float  # by what is explained, see Attribution.relative_residual
    limit: float  # of the relative residual
    num_rows: int
    passes: bool  # every row keeps to the limit


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class AblationCheck(JsonRecord):
    """Whether the score moves more without the columns that matter most than without random ones."""

    num_columns_taken_away: int | None = field(default=None, metadata=OPTIONAL)
    num_rows: int | None = field(default=None, metadata=OPTIONAL)
    mean_change: Mapping[str, float] | None = field(default=None, metadata=OPTIONAL)  # "most", "random", "least"
    passes: bool | None  # None where there is nothing to compare
    why: str | None = field(default=None, metadata=OPTIONAL)  # why nothing was compared


@dataclass(frozen=True, slots=True, eq=False)
class ColumnImportance(JsonRecord):
    """How much one raw column moves the output over all rows."""

    column: str
    mean_abs: float  # mean |contribution|, on the scale of the attribution
    share: float  # of the sum over all columns, 0..1
    mean: float  # mean contribution, with its sign


@dataclass(frozen=True, slots=True, eq=False)
class LeadingColumn(JsonRecord):
    """In how many rows a column is the strongest reason, and which way."""

    column: str
    num_rows: int
    raises: int  # rows whose output it raises
    lowers: int


@dataclass(frozen=True, slots=True, eq=False)
class LabelCount(JsonRecord):
    """How many rows got a label."""

    label: str
    num_rows: int


@dataclass(frozen=True, slots=True, eq=False)
class AnswerDistribution(JsonRecord):
    """The answers of many rows: counts of labels, or quantiles of values; empty where neither is known."""

    labels: tuple[LabelCount, ...] | None = field(default=None, metadata=OPTIONAL)
    quantiles: Mapping[str, float] | None = field(default=None, metadata=OPTIONAL)  # {"0.05": value, ...}


@dataclass(frozen=True, slots=True, eq=False)
class BeeswarmPoints(JsonRecord):
    """One column's contributions in R rows, beside its raw values."""

    column: str
    attribution: tuple[float, ...]  # (R,)
    value: tuple[Any, ...]  # (R,) as JSON holds it
    rank: tuple[float | None, ...]  # (R,) place among the distinct values, 0 lowest to 1 highest; None without order


@dataclass(frozen=True, slots=True, eq=False)
class DependencePoints(JsonRecord):
    """One column's raw values against its contributions, in R rows."""

    column: str
    kind: str  # "numeric", "datetime" or "category"
    value: tuple[Any, ...]  # (R,)
    attribution: tuple[float, ...]  # (R,)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class GlobalReport(JsonRecord):
    """What matters over many rows: importance, the points of plots and checks."""

    method: str
    scale: str
    target: str | None  # the class explained
    base_value: float
    num_rows: int  # that were explained
    num_rows_given: int | None = field(default=None, metadata=OPTIONAL)  # among which these were chosen
    importance: tuple[ColumnImportance, ...]  # the largest first
    by_class: Mapping[str, Mapping[str, float]]  # mean |contribution| of each column by class; empty for one margin
    beeswarm: tuple[BeeswarmPoints, ...] = ()
    dependence: tuple[DependencePoints, ...] = ()
    leading: tuple[LeadingColumn, ...]
    additivity: AdditivityCheck
    ablation: AblationCheck
    answers: AnswerDistribution | None = field(default=None, metadata=OPTIONAL)
    outcome: str | None = field(default=None, metadata=OPTIONAL)  # the column that is predicted


@dataclass(frozen=True, slots=True, eq=False)
class Bar(JsonRecord):
    """One bar of a row's waterfall."""

    column: str
    value: Any  # raw, as JSON holds it
    contribution: float


@dataclass(frozen=True, slots=True, eq=False)
class OtherBars(JsonRecord):
    """The sum of the bars that are not shown."""

    num_columns: int = 0
    contribution: float = 0.0


class SpanDocument(TypedDict, total=False):
    """A token or sentence as JSON."""

    text: str
    start: int
    end: int
    value: float | None
    error: float | None


class GridCellDocument(TypedDict, total=False):
    """A region of a picture ("box"), a stretch of a series or a cell of a sound as JSON."""

    box: list[int]  # left, top, right, bottom
    channels: list[str]
    start: int
    end: int
    seconds: list[float]  # from, to
    hertz: list[float]  # from, to
    value: float | None
    error: float | None


class PartDocument(TypedDict, total=False):
    """The parts of one input as JSON, whatever its kind: reports, the server's route and pages read it back.

    "text", "picture" (a data URL) and "picture_size" (its height and width) are there for pages alone.
    """

    text: str
    picture: str
    picture_size: list[int]
    column: str
    kind: str
    tokens: list[SpanDocument]
    sentences: list[SpanDocument]
    is_cut: bool
    end_read: int
    size: list[int]
    regions: list[GridCellDocument]
    length: int
    stretches: list[GridCellDocument]
    seconds: float
    cells: list[GridCellDocument]
    num_evaluations: int
    is_partial: bool
    notes: list[str]


@dataclass(frozen=True, slots=True, eq=False)
class InteractionPair(JsonRecord):
    """What two columns add together beyond what each adds by itself."""

    columns: tuple[str, str]
    value: float


@dataclass(frozen=True, slots=True, eq=False)
class RowFlag(JsonRecord):
    """A value of a row that was replaced, or that is beyond training: `what` as a contracts.Flag has it."""

    column: str
    what: str


@dataclass(frozen=True, slots=True, eq=False)
class RowExplanation(JsonRecord):
    """One row of the document: base_value + sum of contributions + residual = output."""

    row_id: int  # counted from 0
    prediction: str  # in words
    target: str | None
    scale: str
    base_value: float
    contributions: Mapping[str, float] = field(metadata={"key": "values"})  # by raw column
    output: float
    residual: float
    adds_up: bool  # the residual is within the limit
    reasons: tuple[str, ...]
    reasons_zh: tuple[str, ...]
    parts: tuple[PartDocument, ...] | None = field(default=None, metadata=OPTIONAL)
    interactions: tuple[InteractionPair, ...] | None = field(default=None, metadata=OPTIONAL)
    flags: tuple[RowFlag, ...] | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RowReport(JsonRecord):
    """One row as a page shows it: the waterfall and its reasons. base_value + bars + other + residual = output."""

    row_id: int | None = field(default=None, metadata=OPTIONAL)
    prediction: str | None = field(default=None, metadata=OPTIONAL)
    target: str | None
    scale: str
    method: str
    base_value: float
    output: float
    residual: float
    adds_up: bool
    bars: tuple[Bar, ...]  # the largest first
    other: OtherBars
    reasons: tuple[str, ...]
    reasons_zh: tuple[str, ...]
    contributions: Mapping[str, float] | None = field(default=None, metadata={**OPTIONAL, "key": "values"})
    interactions: tuple[InteractionPair, ...] | None = field(default=None, metadata=OPTIONAL)
    parts: tuple[PartDocument, ...] | None = field(default=None, metadata=OPTIONAL)
    flags: tuple[RowFlag, ...] | None = field(default=None, metadata=OPTIONAL)
    outcome: str | None = field(default=None, metadata=OPTIONAL)  # the column that is predicted

    def explanation(self) -> RowExplanation:
        """The row as the document has it, of a report with "row_id", "prediction" and contributions."""
        return RowExplanation(**{item.name: getattr(self, item.name) for item in fields(RowExplanation)})


@dataclass(frozen=True, slots=True, eq=False)
class NearestRow(JsonRecord):
    """A training row near to the one explained."""

    row: int
    distance: float  # Gower's, 0..1
    answer: Any  # what the target was there
    row_values: Record = field(metadata={"key": "values"})  # raw values of its first columns


@dataclass(frozen=True, slots=True, eq=False)
class RemovedToken(JsonRecord):
    """A token without which, together with others, the class is another."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CounterfactualReport(JsonRecord):
    """The fewest changes that were found to give another class, each of them needed."""

    changes: Mapping[str, list[Any]]  # column: [old value, new value]
    tokens: tuple[RemovedToken, ...] | None = field(default=None, metadata=OPTIONAL)  # of a text
    #: Columns that are functions of each other and so changed together; None where that was not measured.
    together: tuple[tuple[str, ...], ...] | None = field(default=None, metadata=OPTIONAL)
    #: (changed column, column that belongs to it and stayed): such a row may not exist.
    doubtful: tuple[tuple[str, str], ...] | None = field(default=None, metadata=OPTIONAL)
    from_class: str = field(metadata={"key": "from"})
    to_class: str = field(metadata={"key": "to"})
    num_predicted: int  # answers of the model that it took
