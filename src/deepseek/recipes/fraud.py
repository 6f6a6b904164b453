"""Raw card transactions become a bundle that knows the past of each card and terminal.

    result = run_fraud(read_table("transactions.parquet"), FraudOptions(FraudColumns(...), out=Path("cards")))

read -> features by one definition -> periods by time, a delay of verdicts apart -> the search of `ship`
     -> a threshold by limits whose bounds, not whose estimates, are kept -> one bundle with features.toml
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
from deepseek.data.view.drift import make_bins
from deepseek.errors import InputError
from deepseek.features.definition import FeatureDefinition, card_payments
from deepseek.features.events import read_codes
from deepseek.features.tables import DEFINITION_FILE, add_features
from deepseek.look import numbers
from deepseek.look.summary import fact_table, make_table, render_text
from deepseek.operating_point import LEVEL
from deepseek.recipes.fraud_decision import (
    ChosenAlarms,
    DecisionLimits,
    JudgedRows,
    bound_queue,
    bound_rate,
    choose_alarms,
    measure_money,
    money_curve,
)
from deepseek.recipes.fraud_figures import CARDS_A_DAY, FraudFigures, measure_scores
from deepseek.recipes.fraud_periods import Period, Periods, cut_periods
from deepseek.recipes.fraud_states import choose_states
from deepseek.results import Result

if TYPE_CHECKING:
    from deepseek.automl.pack import FinishedRun

#: Families that keep to a few thousand leaves a tree and answer in microseconds.
CANDIDATES = ("random_forest", "xgboost")
#: Of the example: enough cards and days for windows, delays and both periods that judge, in seconds of work.
EXAMPLE_WORLD = FraudWorld(num_customers=600, num_terminals=300, num_days=120)
DEFAULT_MAX_FPR = 0.0002
DEFAULT_LIMITS = DecisionLimits(DEFAULT_MAX_FPR)
EXAMPLE_MAX_FPR = 0.002  # its judging rows are thousands, not tens of thousands
#: Of `measure_money`, as the summary shows them.
MONEY_ROWS = (
    ("most_alerts_in_a_day", "most alerts in a day"),
    ("num_days_above_queue", "days with more than the queue takes"),
    ("amount_caught", "money of frauds that are alarms"),
    ("amount_lost", "money of frauds that are not"),
    ("amount_false_alarms", "money of genuine payments that are alarms"),
    ("cost", "cost of errors"),
    ("cost_without_alarms", "cost without any alarm"),
)


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
    limits: DecisionLimits = DEFAULT_LIMITS  # where alarms begin
    budget_s: float = 600.0  # CPU seconds of the search
    trials: int | None = None
    seed: int = 0
    drop: Sequence[str] = ()
    overwrite: bool = False
    progress: ProgressCallback | None = None
    command: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class FraudResult(Result):
    """The bundle, and its figures on the last period."""

    shipped: ShipResult
    definition: FeatureDefinition
    periods: Periods
    figures: FraudFigures
    report: JsonObject  # evidence/fraud.json

    def to_dict(self) -> JsonObject:
        """What ship prints, and "fraud"."""
        return self.shipped.to_dict() | {"fraud": self.report}

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
        return [*self.shipped.summary_parts(), fact_table(rows), _money_table(self.report["money"])]

    def summary(self) -> str:
        """What `deepseek recipe fraud` prints."""
        return render_text(self.summary_parts())


@dataclass(frozen=True, slots=True, eq=False)
class _RawColumns:
    """What all N rows are judged by."""

    fraud: Any  # (N,) bool
    amount: Any  # (N,)
    time_ms: Any  # (N,)

    def take_rows(self, rows: Any, period: Period, output: Any) -> JudgedRows:
        """The rows at these places (M,), with the model's outputs (M, 2)."""
        return JudgedRows(
            output[:, 1], self.fraud[rows], self.amount[rows], self.time_ms[rows], period.rows_per_day
        )  # fmt: skip


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
    states = choose_states(table, rows, definition, periods)
    definition, rows = states.definition, states.rows
    verdicts = rows.column(options.columns.target)
    labeled = ~np.isnan(verdicts)
    train, held, test = (period.rows[labeled[period.rows]] for period in (periods.train, periods.held, periods.test))
    limits = options.limits
    _check_limits(limits, int((verdicts[held] == 0).sum()), len(held), periods)
    shipping = _ship_options(rows, held, test, options)
    run = TabularRun.of(open_data(rows.take(train), shipping), shipping, orders_levels=False)
    developed = run.develop(refit_on_held=False)  # a bound on held rows says nothing of trees that learned from them
    raw = _RawColumns(
        verdicts == 1, table.column(options.columns.amount), rows.column(options.columns.time).astype(np.int64)
    )
    judged = raw.take_rows(held, periods.held, developed.held_out_output)
    alarms = choose_alarms(judged, limits)
    finished = _with_alarms(finish_tabular(run, developed), alarms, limits)
    tested = raw.take_rows(test, periods.test, finished.test.output)
    cards = read_codes(_texts(table, options.columns.card)[test], options.columns.card)
    figures = measure_scores(
        tested.score, tested.fraud, tested.time_ms, cards, max_fpr=limits.max_fpr or DEFAULT_MAX_FPR
    )
    report = fraud_report(definition, periods, figures, alarms, limits)
    report["hidden_states"] = states.report
    report["money"] = {
        "held": measure_money(judged, _are_alerts(finished, developed.held_out_output), limits),
        "test": measure_money(tested, _are_alerts(finished, finished.test.output), limits),
    }
    report["reference"] = _reference(rows.take(test), definition, tested)
    finished = replace(
        finished, rows_per_day=periods.test.rows_per_day,
        metrics_details={**finished.metrics_details, "money": money_curve(tested, limits.costs)},
    )  # fmt: skip
    shipped = pack_bundle(_with_definition(finished, definition, report), clock)
    return FraudResult(shipped, definition, periods, figures, report)


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


def fraud_report(
    definition: FeatureDefinition,
    periods: Periods,
    figures: FraudFigures,
    alarms: ChosenAlarms,
    limits: DecisionLimits,
) -> JsonObject:
    """evidence/fraud.json, without the money. The threshold's `limit`: half a row above the count of alarms that its
    bound allows among the genuine held rows."""
    rate, alerts = alarms.rate, alarms.alerts
    return {
        "definition": definition.digest,
        "label_delay": definition.label_delay,
        "num_features": len(definition.names),
        "periods": {
            name: {"start": format_timestamp(period.start_ms), "end": format_timestamp(period.end_ms),
                   "num_rows": len(period.rows)}
            for name, period in periods.by_name()
        },
        "threshold": {
            **asdict(limits), "value": alarms.threshold.value, "rule": alarms.threshold.rule, "level": LEVEL,
            "num_genuine": alarms.num_genuine, "num_alarms": rate and rate.num_alarms,
            "limit": rate and (rate.num_alarms + 0.5) / rate.num_rows, "alerts": alerts and asdict(alerts),
        },
        "test": asdict(figures),
    }  # fmt: skip


def make_example(seed: int = 0) -> Table:
    """Transactions of a small world: raw rows with verdicts."""
    return simulate_transactions(replace(EXAMPLE_WORLD, seed=seed))


def _texts(table: Table, name: str) -> Any:
    values = table.column(name)
    return values.astype(np.int64) if values.dtype.kind == "f" else values


def _check_limits(limits: DecisionLimits, num_genuine: int, num_rows: int, periods: Periods) -> None:
    """CheckError before any work where the held rows cannot show what is asked."""
    if limits.max_fpr is not None:
        bound_rate(num_genuine, limits.max_fpr)
    if limits.queue is not None:
        bound_queue(num_rows, periods.held.rows_per_day, limits.queue)


def _ship_options(rows: Table, held: Any, test: Any, options: FraudOptions) -> ShipOptions:
    """The search by the held period; the time orders rows and is no input."""
    time = options.columns.time
    return ShipOptions(
        target=options.columns.target, out=options.out, split=f"time:{time}", drop=(time,), task="binary",
        validation=rows.take(held), test=rows.take(test), seed=options.seed, budget_s=options.budget_s,
        trials=options.trials, candidates=CANDIDATES, metric="average_precision", max_fpr=options.limits.max_fpr,
        overwrite=options.overwrite, progress=options.progress, command=options.command,
    )  # fmt: skip


def _with_alarms(finished: FinishedRun, alarms: ChosenAlarms, limits: DecisionLimits) -> FinishedRun:
    """The run with this threshold, instead of the one of `ship`."""
    decision = replace(
        finished.decision, threshold=alarms.threshold, max_alerts_per_day=limits.queue,
        num_alarms_set=None if alarms.rate is None else alarms.rate.num_alarms,
    )  # fmt: skip
    return replace(finished, decision=decision)


def _are_alerts(finished: FinishedRun, output: Any) -> Any:
    """(N,) whether each output (N, 2) is an alert, as it is served."""
    return finished.decision.classes("binary", finished.data.labels, output) == 1


def _reference(test: Table, definition: FeatureDefinition, tested: JudgedRows) -> JsonObject:
    """What chances and features are on the test rows: what a server compares its own with."""
    features = {name: make_bins(test.column(name)).to_dict() for name in definition.names}
    return {"chance": make_bins(tested.score).to_dict(), "features": features}


def _money_table(money: JsonObject) -> object:
    """What the threshold does to both periods, in the unit of amounts."""
    table = make_table("money, of these days", "held", "test")
    for name, title in MONEY_ROWS:
        values = [money[period][name] for period in ("held", "test")]
        if None not in values:
            table.add_row(title, *(numbers.count(v) if isinstance(v, int) else numbers.number(v) for v in values))
    return table


def _with_definition(finished: FinishedRun, definition: FeatureDefinition, report: JsonObject) -> FinishedRun:
    files = finished.files | {DEFINITION_FILE: definition.to_toml().encode()}
    return replace(finished, files=files, documents=finished.documents | {"evidence/fraud.json": report})
