"""Sensor rows of machines become a bundle that tells how long each has left, with an interval that covers.

    result = run_maintenance(read_table("sensors.parquet"), MaintenanceOptions(MachineColumns("unit", "cycle"), out))

read -> one history a machine -> remaining life, capped -> windows by one definition -> the search of `ship`, folds by
machine: trees on what the windows sum up, an LSTM with attention and a TCN on the course -> the blend -> intervals by
group of predicted life, set on machines that did not teach -> one bundle with windows.json
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from deepseek.automl.options import ProgressCallback, ShipOptions
from deepseek.automl.shipped import RunClock, ShipResult
from deepseek.contracts import Float64, JsonObject
from deepseek.data.table.table import Table
from deepseek.data.table.values import FLOAT32_MAX
from deepseek.errors import InputError
from deepseek.features.machines.definition import HEALTH, MIN_ROWS, WindowDefinition, fit_definition, left_out
from deepseek.features.machines.history import Histories, History, MachineColumns, read_histories
from deepseek.features.machines.life import Life, default_cap, read_lives
from deepseek.features.machines.tables import WINDOWS_FILE, make_rows
from deepseek.features.machines.warning import WARNING_FILE, WarningRule, fit_warning
from deepseek.features.machines.windows import AGE, block_names, feature_names
from deepseek.look import numbers
from deepseek.look.summary import fact_table, render_text
from deepseek.recipes.maintenance.figures import LifeFigures, measure_lives
from deepseek.recipes.maintenance.intervals import fit_intervals, with_intervals
from deepseek.results import Result

if TYPE_CHECKING:
    from deepseek.automl.pack import FinishedRun
    from deepseek.automl.tabular_run import TabularRun
    from deepseek.train.candidates.base import Candidate

TARGET = "rul"  # the column of remaining life in window rows
HEALTH_TREES = "xgboost_health"  # trees on the health index alone: fewer ways to be wrong than on all sensors
CANDIDATES = ("xgboost",)  # beside the yardstick and the nets
TEST_SHARE = 0.1  # of the machines, where none are brought to test on: what is tested on teaches nothing
MIN_MACHINES = 10  # whose end is known
#: Training rows go so far above the cap, as a share of it: all of a long healthy time says one thing, many times.
BEYOND_CAP = 1.3
MOST_ROWS = 10_000  # to learn from: neighbouring moments of a machine tell nearly the same
TREE_STEP = 2  # trees are fitted on each such row of these
MIN_TOLD_ROWS = 20  # by which a sensor is taken for the remaining life
TOLD_CORRELATION = 0.9999
MIN_AGE = 5  # rows of a machine before it is learned from


@dataclass(frozen=True, slots=True)
class MaintenanceOptions:
    """What a person may ask of the recipe."""

    columns: MachineColumns
    out: Path
    failure: str | None = None  # column: 1 in the row of a failure
    rul: str | None = None  # column: remaining life in units of time
    cap: float | None = None  # by default by the median life
    test: Table | None = None  # machines of the user's own to test on, with the same columns
    interval: float = 0.9
    budget_s: float = 600.0  # CPU seconds of the search
    trials: int | None = None
    nets: bool = True  # an LSTM with attention and a TCN compete
    seed: int = 0
    drop: Sequence[str] = ()
    overwrite: bool = False
    progress: ProgressCallback | None = None
    command: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class MaintenanceResult(Result):
    """The bundle, and its figures on the machines to test on."""

    shipped: ShipResult
    definition: WindowDefinition
    figures: LifeFigures
    report: JsonObject  # evidence/maintenance.json

    def to_dict(self) -> JsonObject:
        """What ship prints, and "maintenance"."""
        return self.shipped.to_dict() | {"maintenance": self.report}

    def summary_parts(self) -> list[object]:
        """What ship says, then the figures of this field."""
        figures, cap = self.figures, numbers.number(self.definition.cap)
        rows: list[tuple[str, object]] = [
            (f"root mean square error, life up to {cap}", numbers.number(figures.rmse)),
            ("PHM08 score a hundred machines", numbers.number(figures.score)),
            (f"inside the interval of {self.report['interval']:.0%}", f"{figures.coverage:.1%}"),
            ("machines, rows tested on", f"{figures.num_machines:,}, {figures.num_rows:,}"),
            ("machines learned from, censored among them",
             f"{self.report['num_machines']:,}, {self.report['num_censored']:,}"),
        ]  # fmt: skip
        return [*self.shipped.summary_parts(), fact_table(rows)]

    def summary(self) -> str:
        """What `deepseek recipe maintenance` prints."""
        return render_text(self.summary_parts())


@dataclass(frozen=True, slots=True, eq=False)
class _Fleet:
    """Machines with their lives, and the rows that are used of each."""

    histories: Histories
    lives: list[Life]
    table: Table  # of sensors

    def take(self, places: Sequence[int]) -> _Fleet:
        machines = tuple(self.histories.machines[place] for place in places)
        return replace(
            self, histories=replace(self.histories, machines=machines), lives=[self.lives[p] for p in places]
        )


@dataclass(frozen=True, slots=True, eq=False)
class PreparedRun:
    """Machines as rows with their candidates, ready for the search."""

    run: TabularRun
    definition: WindowDefinition
    learned: _Fleet
    remaining: Float64  # (N,) uncapped remaining life of the rows to develop on, NaN where it is not known


def run_maintenance(table: Table, options: MaintenanceOptions) -> MaintenanceResult:
    """Windows, search, intervals, bundle. InputError for columns or machines that cannot be used."""
    from deepseek.automl.pack import pack_bundle
    from deepseek.automl.tabular_pack import finish_tabular

    clock = RunClock()
    prepared = prepare_run(table, options)
    run, definition, learned = prepared.run, prepared.definition, prepared.learned
    developed = run.develop()
    groups = fit_intervals(run, developed, definition, prepared.remaining, options.interval)
    finished = with_intervals(finish_tabular(run, developed), groups, definition.cap, options.interval)
    figures = measure_lives(finished, definition, groups)
    rule = fit_warning(definition, _sensors_of(learned, definition), learned.lives)
    report = _report(definition, learned, figures, finished, options) | {"warning": rule and rule.to_dict()}
    shipped = pack_bundle(_with_windows(finished, definition, rule, report), clock)
    return MaintenanceResult(shipped, definition, figures, report)


def prepare_run(table: Table, options: MaintenanceOptions) -> PreparedRun:
    """Up to the search. InputError for columns or machines that cannot be used."""
    from deepseek.automl.split_data import open_data
    from deepseek.automl.tabular_run import TabularRun

    if options.progress:
        options.progress("reading machines", 0.0)
    fleet, warnings = read_fleet(table, options)
    if options.test is None:
        learned, tested = _hold_out(fleet, options.seed)
    else:
        learned, (tested, more) = fleet, read_fleet(options.test, options)
        warnings += more
    _check_answers(learned)
    cap = default_cap(learned.histories, learned.lives) if options.cap is None else options.cap
    _check_cap(cap, learned)
    definition = fit_definition(learned.histories, [life.remaining for life in learned.lives], target=TARGET, cap=cap)
    warnings += _constant_warnings(learned.histories, definition)
    training, remaining = _training_rows(learned, definition, options.seed)
    test = _test_rows(tested, definition)
    shipping = _ship_options(definition, test, options)
    run = TabularRun.of(open_data(training, shipping), shipping)
    run = replace(run, candidates=_candidates(run, definition, options), warnings=[*warnings, *run.warnings])
    return PreparedRun(run, definition, learned, remaining)


def read_fleet(table: Table, options: MaintenanceOptions) -> tuple[_Fleet, list[str]]:
    """The machines of a table with two rows or more, and what had to be left out, in words. InputError as reading
    histories and lives raises it, and where no machine is left."""
    answer_columns = [name for name in (options.failure, options.rul) if name is not None]
    dropped = [name for name in (*options.drop, *answer_columns) if name in table.columns]
    histories = read_histories(table.drop(dropped), options.columns)
    lives = read_lives(table, histories, failure=options.failure, rul=options.rul)
    fleet = _Fleet(histories, lives, table)
    long_enough = [place for place, machine in enumerate(histories.machines) if len(machine) >= MIN_ROWS]
    num_short = len(histories.machines) - len(long_enough)
    if not long_enough:
        raise InputError(
            f"all {num_short} machines have a single row", expected="machines with a course over time",
            fix=f"check that {options.columns.unit!r} names machines, and bring all their rows",
        )  # fmt: skip
    what = "1 machine with a single row was" if num_short == 1 else f"{num_short} machines with a single row were"
    warnings = [f"{what} left out"] if num_short else []
    read = {options.columns.unit, options.columns.time, *histories.sensors, *dropped}
    others = [name for name in table.names if name not in read]
    if others:
        warnings.append(f"columns of words and dates are no sensors and are not read: {', '.join(others)}")
    return fleet.take(long_enough), warnings


def _check_answers(fleet: _Fleet) -> None:
    """InputError for a sensor that is the remaining life itself: nobody has it when it is needed."""
    remaining = np.concatenate([life.remaining for life in fleet.lives])
    values = np.concatenate([machine.values for machine in fleet.histories.machines])
    for name, column in zip(fleet.histories.sensors, values.T, strict=True):
        known = np.isfinite(column) & np.isfinite(remaining)
        if known.sum() < MIN_TOLD_ROWS or min(np.ptp(column[known]), np.ptp(remaining[known])) <= 0:
            continue
        late = known & (remaining <= np.quantile(remaining[known], 0.25))  # a column of lives may be capped above
        if abs(np.corrcoef(column[late], remaining[late])[0, 1]) > TOLD_CORRELATION:
            raise InputError(
                f"the column {name!r} rises or falls with the remaining life itself", expected="what a machine reports",
                fix=f"name it with --rul {name}, or leave it out with --drop {name}",
            )  # fmt: skip


def _check_cap(cap: float, fleet: _Fleet) -> None:
    """InputError for a cap that is no life, or below all that a row could have left."""
    left = np.concatenate([life.remaining for life in fleet.lives])
    least = float(left[left > 0].min()) if (left > 0).any() else 0.0  # False where it is not known
    if not least < cap <= FLOAT32_MAX:
        raise InputError(
            f"the cap is {cap:g}", expected=f"a life above {least:g}, the least that is left in any row but the last",
            fix="state it in the unit of the time column (hours where times are dates), or leave --cap out",
        )  # fmt: skip


def _hold_out(fleet: _Fleet, seed: int) -> tuple[_Fleet, _Fleet]:
    """Machines to learn from, and TEST_SHARE of those whose end is known. InputError for fewer than MIN_MACHINES."""
    known = [place for place, life in enumerate(fleet.lives) if not life.is_censored]
    if len(known) < MIN_MACHINES:
        raise InputError(
            f"the end of {len(known)} machines is known", expected=f"at least {MIN_MACHINES}",
            fix="bring more machines that failed, or --failure or --rul if a column says when",
        )  # fmt: skip
    num_tested = max(2, round(TEST_SHARE * len(known)))
    tested = np.sort(np.random.default_rng(seed).permutation(known)[:num_tested]).tolist()
    learned = [place for place in range(len(fleet.lives)) if place not in set(tested)]
    return fleet.take(learned), fleet.take(tested)


def _constant_warnings(histories: Histories, definition: WindowDefinition) -> list[str]:
    constant = left_out(histories, definition)
    if not constant:
        return []
    what = "1 sensor never changes and is" if len(constant) == 1 else f"{len(constant)} sensors never change and are"
    return [f"{what} not read: {', '.join(constant)}"]


def _window_table(
    fleet: _Fleet, definition: WindowDefinition, chosen: list[NDArray[np.int64]], prefix: str = ""
) -> Table:
    """The window rows of the chosen rows of each machine, with the capped remaining life as the target. `prefix`: of
    the machines' names, where two tables may have the same."""
    kept = np.concatenate([machine.rows for machine in fleet.histories.machines])
    rows = make_rows(definition, fleet.table.take(np.sort(kept)))
    places = {int(row): place for place, row in enumerate(np.sort(kept))}
    wanted, target = [], []
    for machine, life, choice in zip(fleet.histories.machines, fleet.lives, chosen, strict=True):
        wanted += [places[int(row)] for row in machine.rows[choice]]
        target.append(_capped_target(life, choice, definition.cap))
    table = rows.table.take(np.array(wanted)).drop([definition.time])
    units = [machine.name for machine, choice in zip(fleet.histories.machines, chosen, strict=True) for _ in choice]
    names = np.array([prefix + name for name in units], object)
    return Table(
        {**table.columns, definition.unit: names, definition.target: np.concatenate(target)},
        {**table.types, definition.unit: "text", definition.target: "number"}, table.notes,
    )  # fmt: skip


def _capped_target(life: Life, choice: NDArray[np.int64], cap: float) -> Float64:
    """What is known, up to the cap; of a censored machine the bound where it is above the cap, else NaN."""
    known = np.where(np.isnan(life.remaining), np.where(life.at_least >= cap, cap, np.nan), life.remaining)
    return np.asarray(np.minimum(known[choice], cap))


def _training_rows(fleet: _Fleet, definition: WindowDefinition, seed: int) -> tuple[Table, Float64]:
    """Moments of all machines: every k-th, so that there are MOST_ROWS at most; and the remaining life of each (N,),
    NaN where it is not known. There trees of the others guess it, but never below what the machine has lived since."""
    usable = [
        np.flatnonzero(
            (np.arange(len(machine)) >= min(MIN_AGE, len(machine) // 2))
            & (np.nan_to_num(life.remaining, nan=0.0) <= BEYOND_CAP * definition.cap)
        )
        for machine, life in zip(fleet.histories.machines, fleet.lives, strict=True)
    ]
    step = max(1, int(np.ceil(sum(map(len, usable)) / MOST_ROWS)))
    rng = np.random.default_rng(seed)
    chosen = [rows[int(rng.integers(min(step, max(len(rows), 1)))) :: step] for rows in usable]
    table = _window_table(fleet, definition, chosen)
    target = table.column(definition.target)
    unknown = np.isnan(target)
    remaining = np.concatenate([life.remaining[rows] for life, rows in zip(fleet.lives, chosen, strict=True)])
    if not unknown.any():
        return table, remaining
    at_least = np.concatenate([life.at_least[rows] for life, rows in zip(fleet.lives, chosen, strict=True)])
    guessed = _guess_lives(table, definition, unknown, at_least)
    target = np.where(unknown, guessed, target)
    return replace(table, columns={**table.columns, definition.target: target}), remaining


def _guess_lives(table: Table, definition: WindowDefinition, unknown: NDArray[np.bool_], at_least: Float64) -> Float64:
    """(N,) remaining life of rows whose end was not seen: by trees on the others, at least the bound, at most the cap
    (Buckley and James 1979, section 2, with one step of trees)."""
    from deepseek.extras import need

    xgb = need("xgboost", extra="tabular")
    names = [name for name in feature_names(definition) if name not in block_names(definition)]
    features = np.stack([table.column(name) for name in names], axis=1)
    settings = {"max_leaves": 16, "max_depth": 0, "grow_policy": "lossguide", "eta": 0.1, "subsample": 0.6,
                "colsample_bynode": 0.3, "min_child_weight": 4, "nthread": 1}  # fmt: skip
    known = xgb.DMatrix(features[~unknown], table.column(definition.target)[~unknown])
    guessed = xgb.train(settings, known, num_boost_round=100).predict(xgb.DMatrix(features))
    return np.asarray(np.clip(guessed, np.minimum(at_least, definition.cap), definition.cap), np.float64)


def _test_rows(fleet: _Fleet, definition: WindowDefinition) -> Table:
    """What a model is judged on: the last row of a machine that was cut short, else moments spread over its life."""
    return _window_table(fleet, definition, [
        _judged_rows(machine, life, definition.cap)
        for machine, life in zip(fleet.histories.machines, fleet.lives, strict=True)
    ], prefix="test ")  # fmt: skip


def _judged_rows(machine: History, life: Life, cap: float) -> NDArray[np.int64]:
    known = np.flatnonzero(np.isfinite(life.remaining))
    if not len(known):
        return known
    if life.remaining[-1] > 0:
        return np.array([len(machine) - 1])
    late = known[(life.remaining[known] <= BEYOND_CAP * cap) & (known >= min(MIN_AGE, len(machine) // 2))]
    return late[:: max(1, len(late) // 20)]


def _ship_options(definition: WindowDefinition, test: Table, options: MaintenanceOptions) -> ShipOptions:
    """The search by folds of machines; machines are no inputs."""
    return ShipOptions(
        target=TARGET, out=options.out, split=f"group:{definition.unit}", task="regression", test=test,
        kinds=dict.fromkeys(feature_names(definition), "numeric"), seed=options.seed, budget_s=options.budget_s,
        trials=options.trials, candidates=CANDIDATES, metric="rmse", interval=options.interval,
        overwrite=options.overwrite, progress=options.progress, command=options.command,
    )  # fmt: skip


def _candidates(run: TabularRun, definition: WindowDefinition, options: MaintenanceOptions) -> tuple[Candidate, ...]:
    """Trees see what windows sum up, some of them of the health index alone; the nets see the course in blocks, and the
    age."""
    from deepseek.extras import is_installed
    from deepseek.train.candidates import XGBoost
    from deepseek.train.candidates.recurrent import LSTM_ATTENTION, TCN, RecurrentModel
    from deepseek.train.candidates.without_texts import OfFeatures

    place = {name: index for index, name in enumerate(run.preprocessor.feature_names)}
    course = set(block_names(definition))
    summed = np.array([index for name, index in place.items() if name not in course], np.int64)
    health = [at for name, at in place.items() if name not in course and name.startswith((f"{HEALTH}.", AGE))]
    alone = OfFeatures(XGBoost(), np.array(health, np.int64), name=HEALTH_TREES, row_step=TREE_STEP)
    trees = (*(OfFeatures(candidate, summed, row_step=TREE_STEP) for candidate in run.candidates), alone)
    if not (options.nets and is_installed("torch")):
        return trees
    steps = range(len(definition.blocks) - 1, -1, -1)
    signals = [name for name in definition.course_signals if all(f"{name}.block.{k}" in place for k in steps)]
    places = np.array([[place[f"{name}.block.{k}"] for name in signals] for k in steps], np.int32)
    extra = np.array([place[AGE]] if AGE in place else [], np.int32)
    nets = [RecurrentModel(LSTM_ATTENTION, places, extra), RecurrentModel(TCN, places, extra)]
    return (*trees, *cast("list[Candidate]", nets))  # frozen: their names may not be set, which the protocol allows


def _report(
    definition: WindowDefinition, learned: _Fleet, figures: LifeFigures, finished: FinishedRun,
    options: MaintenanceOptions,
) -> JsonObject:  # fmt: skip
    """evidence/maintenance.json."""
    interval = finished.decision.to_dict()["interval"]
    return {
        "cap": definition.cap, "sensors": list(definition.sensor_names), "interval": options.interval,
        "groups": interval["groups"], "num_machines": len(learned.lives),
        "num_censored": sum(life.is_censored for life in learned.lives),
        "time_unit": "hours" if definition.is_dated else definition.time, "test": figures.to_dict(),
    }  # fmt: skip


def _sensors_of(fleet: _Fleet, definition: WindowDefinition) -> list[History]:
    """The machines with the values of the definition's sensors alone."""
    places = [fleet.histories.sensors.index(name) for name in definition.sensor_names]
    return [replace(machine, values=machine.values[:, places]) for machine in fleet.histories.machines]


def _with_windows(
    finished: FinishedRun, definition: WindowDefinition, rule: WarningRule | None, report: JsonObject
) -> FinishedRun:
    files = finished.files | {WINDOWS_FILE: definition.to_json()}
    if rule is not None:
        files |= {WARNING_FILE: rule.to_json()}
    return replace(finished, files=files, documents=finished.documents | {"evidence/maintenance.json": report})
