"""Raw card transactions become a bundle that knows the past of each card and terminal.

    result = run_fraud(read_table("transactions.parquet"), FraudOptions(FraudColumns(...), out=Path("cards")))

read -> features by one definition -> periods by time, a delay of verdicts apart -> the search of `ship`
     -> a threshold whose bound, not whose estimate, keeps the false-positive rate -> one bundle with features.toml
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepseek.automl.options import ProgressCallback, ShipOptions
from deepseek.automl.shipped import RunClock, ShipResult
from deepseek.contracts import JsonObject
from deepseek.data.table.synth import FraudWorld, simulate_transactions
from deepseek.data.table.table import Table, unknown_column_error
from deepseek.data.table.values import format_timestamp
from deepseek.errors import CheckError, InputError
from deepseek.features.definition import FeatureDefinition, card_payments
from deepseek.features.events import read_codes
from deepseek.features.tables import DEFINITION_FILE, add_features
from deepseek.look.summary import fact_table, render_text
from deepseek.operating_point import LEVEL, num_rows_for_rate
from deepseek.recipes.fraud_figures import CARDS_A_DAY, FraudFigures, measure_scores
from deepseek.recipes.fraud_periods import Periods, cut_periods
from deepseek.results import Result

if TYPE_CHECKING:
    from deepseek.automl.pack import FinishedRun

#: Families that keep to a few thousand leaves a tree and answer in microseconds.
CANDIDATES = ("random_forest", "xgboost")
#: Of the example: enough cards and days for windows, delays and both periods that judge, in seconds of work.
EXAMPLE_WORLD = FraudWorld(num_customers=600, num_terminals=300, num_days=120)
DEFAULT_MAX_FPR = 0.0002
EXAMPLE_MAX_FPR = 0.002  # its judging rows are thousands, not tens of thousands


@dataclass(frozen=True, slots=True)
class FraudColumns:
    """The columns of a table of transactions. `id` may be "" where there is none."""

    time: str = "time"
    card: str = "card"
    terminal: str = "terminal"
    amount: str = "amount"
    target: str = "fraud"  # 0 or 1; missing where the verdict is not known
    id: str = "id"


@dataclass(frozen=True, slots=True)
class FraudOptions:
    """What a person may ask of the recipe."""

    columns: FraudColumns
    out: Path
    label_delay: str = "7d"  # how long after a payment its verdict is known
    max_fpr: float = DEFAULT_MAX_FPR
    budget_s: float = 600.0  # CPU seconds of the search
    trials: int | None = None
    seed: int = 0
    drop: Sequence[str] = ()
    overwrite: bool = False
    progress: ProgressCallback | None = None
    command: str | None = None


@dataclass(frozen=True, slots=True)
class ThresholdBound:
    """How many genuine held rows may be alarms so that the 95 % interval of their rate ends at `max_fpr` or below."""

    max_fpr: float
    num_genuine: int
    num_alarms: int
    level: float = LEVEL

    @property
    def limit(self) -> float:
        """The rate on these rows that the threshold has to keep: half a row above a count, where no rounding bites."""
        return (self.num_alarms + 0.5) / self.num_genuine


@dataclass(frozen=True, slots=True, eq=False)
class FraudResult(Result):
    """The bundle, and its figures on the last period."""

    shipped: ShipResult
    definition: FeatureDefinition
    periods: Periods
    bound: ThresholdBound
    figures: FraudFigures

    def to_dict(self) -> JsonObject:
        """What ship prints, and "fraud"."""
        return self.shipped.to_dict() | {"fraud": fraud_report(self.definition, self.periods, self.bound, self.figures)}

    def summary_parts(self) -> list[object]:
        """What ship says, then the figures of this field."""
        figures = self.figures
        rows: list[tuple[str, object]] = [
            ("average precision", f"{figures.average_precision:.3f}"),
            (f"recall where {figures.max_fpr:.2%} of the genuine rows are alarms", f"{figures.recall:.3f}"),
            (f"of the {CARDS_A_DAY} highest cards a day, with a fraud", f"{figures.card_precision:.3f}"),
            ("test rows, frauds among them", f"{figures.num_rows:,}, {figures.num_frauds:,}"),
            ("features", len(self.definition.names)),
        ]
        return [*self.shipped.summary_parts(), fact_table(rows)]

    def summary(self) -> str:
        """What `deepseek recipe fraud` prints."""
        return render_text(self.summary_parts())


def run_fraud(table: Table, options: FraudOptions) -> FraudResult:
    """Features, search, threshold, bundle. InputError for columns or rows that cannot be used; CheckError where the
    held genuine rows cannot show a rate as low as max_fpr, or a limit is not kept; then no bundle is left behind."""
    from deepseek.automl.pack import pack_bundle
    from deepseek.automl.split_data import open_data
    from deepseek.automl.tabular_pack import finish_tabular
    from deepseek.automl.tabular_run import TabularRun

    clock = RunClock()
    definition = make_definition(table, options)
    if options.progress:
        options.progress("computing features", 0.0)
    rows = prepare_rows(table, definition, options)
    periods = cut_periods(rows.column(options.columns.time), definition)
    verdicts = rows.column(options.columns.target)
    labeled = ~np.isnan(verdicts)
    train, held, test = (period.rows[labeled[period.rows]] for period in (periods.train, periods.held, periods.test))
    bound = bound_threshold(int((verdicts[held] == 0).sum()), options.max_fpr)
    shipping = _ship_options(rows, held, test, options, bound)
    run = TabularRun.of(open_data(rows.take(train), shipping), shipping)
    finished = finish_tabular(run, run.develop())
    cards = read_codes(_texts(table, options.columns.card)[test], options.columns.card)
    time_ms = rows.column(options.columns.time)[test].astype(np.int64)
    figures = measure_scores(
        finished.test.output[:, 1], finished.test.target == 1, time_ms, cards, max_fpr=options.max_fpr
    )
    report = fraud_report(definition, periods, bound, figures)
    finished = replace(finished, rows_per_day=periods.test.rows_per_day)
    shipped = pack_bundle(_with_definition(finished, definition, report), clock)
    return FraudResult(shipped, definition, periods, bound, figures)


def make_definition(table: Table, options: FraudOptions) -> FeatureDefinition:
    """The usual features of card payments, over the columns of this table. InputError for a column that is not there
    or that cannot be what it is called."""
    columns = options.columns
    for name in (columns.time, columns.card, columns.terminal, columns.amount, columns.target):
        if name not in table.columns:
            raise unknown_column_error(name, table.names, where="the table of transactions")
    for name, kinds, expected in (
        (columns.time, ("datetime", "number"), "dates with a time of day, or whole seconds"),
        (columns.amount, ("number",), "numbers"),
        (columns.target, ("number", "boolean"), "0 or 1, missing where the verdict is not known"),
    ):
        if table.types[name] not in kinds:
            raise InputError(
                f"the column {name!r} holds {table.types[name]}s", expected=expected, fix="name another, or convert it"
            )
    verdicts = table.column(columns.target)
    other = verdicts[~np.isnan(verdicts) & ~np.isin(verdicts, (0, 1))]
    if len(other):
        raise InputError(
            f"the column {columns.target!r} holds {other[0]:g}", expected="0 (genuine) or 1 (fraud)", fix="convert it"
        )
    time = table.column(columns.time)
    has_parts = time.dtype.kind == "M" and bool((time.astype(np.int64) % 1_000 != 0).any())
    definition = card_payments(
        columns.card, columns.terminal, time=columns.time, amount=columns.amount,
        id=columns.id if columns.id in table.columns else "", label=columns.target, label_delay=options.label_delay,
    )  # fmt: skip
    return replace(definition, time_unit="ms") if has_parts else definition


def prepare_rows(table: Table, definition: FeatureDefinition, options: FraudOptions) -> Table:
    """The table with its features, its time as dates, and without what is left out."""
    rows = add_features(definition, table.drop([name for name in options.drop if name in table.columns]))
    time = rows.column(options.columns.time)
    if time.dtype.kind == "M":
        return rows
    moments = (time * 1_000).astype(np.int64).astype("datetime64[ms]")
    return Table(
        {**rows.columns, options.columns.time: moments}, {**rows.types, options.columns.time: "datetime"}, rows.notes
    )


def bound_threshold(num_genuine: int, max_fpr: float) -> ThresholdBound:
    """The most alarms among genuine held rows that still show a rate of at most `max_fpr`. CheckError where even none
    would not.

    >>> bound_threshold(18_443, 0.0002).num_alarms, bound_threshold(100_000, 0.0002).num_alarms
    (0, 11)
    """
    from deepseek.train.tabular.intervals import exact_interval

    needed = num_rows_for_rate(max_fpr)
    if needed is None or num_genuine < needed:
        raise CheckError(
            f"{num_genuine:,} genuine rows set the threshold: they cannot show a false-positive rate of {max_fpr:g}",
            expected="a rate above 0" if needed is None else f"{needed:,} genuine rows in the period that sets it",
            fix="bring more transactions, or allow more false alarms (--max-fpr)",
        )
    low, high = 0, num_genuine
    while high - low > 1:
        middle = (low + high) // 2
        if exact_interval(middle, num_genuine)[1] <= max_fpr:
            low = middle
        else:
            high = middle
    return ThresholdBound(max_fpr, num_genuine, low)


def fraud_report(
    definition: FeatureDefinition, periods: Periods, bound: ThresholdBound, figures: FraudFigures
) -> JsonObject:
    """evidence/fraud.json."""
    return {
        "definition": definition.digest,
        "label_delay": definition.label_delay,
        "num_features": len(definition.names),
        "periods": {
            name: {"start": format_timestamp(period.start_ms), "end": format_timestamp(period.end_ms),
                   "num_rows": len(period.rows)}
            for name, period in periods.by_name()
        },
        "threshold": {**asdict(bound), "limit": bound.limit},
        "test": asdict(figures),
    }  # fmt: skip


def make_example(seed: int = 0) -> Table:
    """Transactions of a small world: raw rows with verdicts."""
    return simulate_transactions(replace(EXAMPLE_WORLD, seed=seed))


def _texts(table: Table, name: str) -> Any:
    values = table.column(name)
    return values.astype(np.int64) if values.dtype.kind == "f" else values


def _ship_options(rows: Table, held: Any, test: Any, options: FraudOptions, bound: ThresholdBound) -> ShipOptions:
    """The search by the held period; the time orders rows and is no input."""
    time = options.columns.time
    return ShipOptions(
        target=options.columns.target, out=options.out, split=f"time:{time}", drop=(time,), task="binary",
        validation=rows.take(held), test=rows.take(test), seed=options.seed, budget_s=options.budget_s,
        trials=options.trials, candidates=CANDIDATES, metric="average_precision", max_fpr=bound.limit,
        overwrite=options.overwrite, progress=options.progress, command=options.command,
    )  # fmt: skip


def _with_definition(finished: FinishedRun, definition: FeatureDefinition, report: JsonObject) -> FinishedRun:
    files = finished.files | {DEFINITION_FILE: definition.to_toml().encode()}
    return replace(finished, files=files, documents=finished.documents | {"evidence/fraud.json": report})
