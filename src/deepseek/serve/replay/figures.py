"""What a replay shows: alerts a day, how many are right, when what was planted is first seen, how long an answer takes.

report = measure(rows, playback, ReplayContext(...))
report.summary(), report.to_dict()
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from deepseek.data.table.values import DAY_MS, format_timestamp
from deepseek.errors import InputError
from deepseek.features.definition import duration_s
from deepseek.features.events import Longs
from deepseek.look import numbers
from deepseek.look.summary import fact_table, make_table, render_text
from deepseek.look.words import Text
from deepseek.operating_point import Rate
from deepseek.results import Result
from deepseek.serve.replay.injection import Injection
from deepseek.serve.replay.player import ACCEPTED, NOT_PLAYED, Playback, Reasons
from deepseek.serve.replay.rows import HISTORY, OWN, ReplayRows

if TYPE_CHECKING:
    from deepseek.contracts import JsonObject

LONG_LAG_S = 1.0  # from which on it is said
MOST_ALERTS = 10_000  # in --json: those with the highest chance


@dataclass(frozen=True, slots=True)
class ReplayContext:
    """What was replayed, and how: for whoever makes it again."""

    bundle: str
    digest: str
    transactions: str
    state: str  # where the state came from, in words
    speed: float | None  # times real time; None: without waiting
    seed: int
    threshold: float | None  # of an alert
    num_history: int  # files


@dataclass(frozen=True, slots=True)
class AlertRecord:
    """One alert."""

    row: int
    id: object
    time_ms: int
    card: object
    terminal: object
    amount: object
    chance: float
    verdict: str  # "fraud", "genuine", "unknown", "planted"
    reasons: Reasons

    def to_dict(self) -> JsonObject:
        """As --json has it."""
        document = asdict(self) | {"time": format_timestamp(self.time_ms), "reasons": list(self.reasons.en)}
        return {name: value for name, value in document.items() if name not in ("row", "time_ms")}


@dataclass(frozen=True, slots=True)
class DayFigures:
    """One day, by UTC. Frauds and false alarms are of the table's own rows, by their verdicts."""

    day_ms: int
    num_rows: int
    num_alerts: int
    num_frauds: int
    num_caught: int
    num_false_alarms: int
    num_planted: int
    num_planted_alerts: int

    def to_dict(self) -> JsonObject:
        """As --json has it."""
        counts = {name: value for name, value in asdict(self).items() if name != "day_ms"}
        return {"day": format_timestamp(self.day_ms), **counts}


@dataclass(frozen=True, slots=True, eq=False)
class InjectionFigures:
    """What became of one thing that was planted."""

    injection: Injection
    rows: Longs  # its rows that were played
    is_alert: np.ndarray[Any, np.dtype[np.bool_]]  # of these rows
    first_ms: int | None  # when its first row was
    first_alert: AlertRecord | None  # on one of its rows

    @property
    def num_alerts(self) -> int:
        return int(self.is_alert.sum())

    @property
    def delay_s(self) -> float | None:
        """From its first row to the first alert on one of them; None where there is none."""
        if self.first_alert is None or self.first_ms is None:
            return None
        return (self.first_alert.time_ms - self.first_ms) / 1_000


@dataclass(frozen=True, slots=True, eq=False)
class ReplayReport(Result):
    """The figures of a replay. Rates are 0..1 and of the table's own rows that have a verdict; None where none has."""

    context: ReplayContext
    rows: ReplayRows
    playback: Playback
    num_rows: int  # of the table and planted, played
    counts: dict[str, int]  # by status
    start_ms: int
    end_ms: int
    num_alerts: int
    num_false_alarms: int
    num_frauds: int
    precision: Rate | None
    recall: Rate | None
    false_positive_rate: Rate | None
    injections: tuple[InjectionFigures, ...]
    days: tuple[DayFigures, ...]
    alerts: tuple[AlertRecord, ...]  # the highest chance first
    latency_p50_s: float
    latency_p99_s: float
    warnings: tuple[Text, ...]  # what a person should know before the figures are used

    @property
    def num_days(self) -> float:
        """From the first row to the last, at least one."""
        return max(1.0, (self.end_ms - self.start_ms) / DAY_MS)

    @property
    def has_verdicts(self) -> bool:
        return self.false_positive_rate is not None or self.recall is not None

    @property
    def false_alarms_a_day(self) -> float | None:
        return self.num_false_alarms / self.num_days if self.has_verdicts else None

    @property
    def rows_per_s(self) -> float:
        return self.num_rows / max(self.playback.wall_s, 1e-9)

    def to_dict(self) -> JsonObject:
        """As `deepseek stream BUNDLE --replay ... --json` prints it."""
        rates = {"precision": self.precision, "recall": self.recall, "false_positive_rate": self.false_positive_rate}
        return {
            **{name: value for name, value in asdict(self.context).items() if name != "num_history"},
            "num_rows": self.num_rows, "num_planted": sum(len(each.rows) for each in self.injections),
            "num_left": self.playback.status.count(NOT_PLAYED), "num_verdicts": self.playback.num_verdicts,
            "counts": self.counts, "start": format_timestamp(self.start_ms), "end": format_timestamp(self.end_ms),
            "num_days": self.num_days, "num_alerts": self.num_alerts, "alerts_a_day": self.num_alerts / self.num_days,
            "num_frauds": self.num_frauds, "num_false_alarms": self.num_false_alarms,
            "false_alarms_a_day": self.false_alarms_a_day,
            "metrics": {name: asdict(rate) for name, rate in rates.items() if rate is not None},
            "planted": [self._injection_to_dict(each) for each in self.injections],
            "latency_s": {"p50": self.latency_p50_s, "p99": self.latency_p99_s},
            "wall_s": self.playback.wall_s, "rows_per_s": self.rows_per_s, "max_lag_s": self.playback.max_lag_s,
            "days": [day.to_dict() for day in self.days],
            "alerts": [alert.to_dict() for alert in self.alerts[:MOST_ALERTS]],
            "warnings": [warning.en for warning in self.warnings],
        }  # fmt: skip

    def _injection_to_dict(self, each: InjectionFigures) -> JsonObject:
        return {
            "kind": each.injection.kind, "cards": list(each.injection.cards),
            "terminals": list(each.injection.terminals), "num_rows": each.injection.rows.num_rows,
            "num_played": len(each.rows), "num_alerts": each.num_alerts,
            "first": None if each.first_ms is None else format_timestamp(each.first_ms),
            "first_alert": None if each.first_alert is None else each.first_alert.to_dict(),
            "time_to_first_alert_s": each.delay_s,
            "rows": self._planted_rows(each),
        }  # fmt: skip

    def _planted_rows(self, each: InjectionFigures) -> list[JsonObject]:
        """Every planted row, and whether it was an alert; None where it was not scored."""
        names, rows = self.rows.definition.columns, each.injection.rows.records()
        scored = zip(each.rows.tolist(), each.is_alert.tolist(), strict=True)
        alert_by_id = {self.rows.value(row, names.id): is_alert for row, is_alert in scored}
        kept = [name for name in rows[0] if name != names.label]
        return [{**{name: row[name] for name in kept}, "is_alert": alert_by_id.get(row[names.id])} for row in rows]

    def summary_parts(self) -> list[object]:
        """The answer in one sentence, then the facts, then what was planted."""
        facts: list[tuple[str, object]] = [
            ("rows", f"{self.num_rows:,} over {numbers.number(self.num_days)} days"),
            *((f"of these {name.replace('_', ' ')}", number) for name, number in sorted(self.counts.items())
              if name != ACCEPTED),
            ("alerts a day", f"{numbers.number(self.num_alerts / self.num_days)}, {self.num_alerts:,} in all"),
            ("false alarms a day", numbers.number(self.false_alarms_a_day)),
            *((name, _format_rate(rate)) for name, rate in (
                ("precision", self.precision), ("recall", self.recall),
                ("false-positive rate", self.false_positive_rate))),
            ("latency of a row, p50 / p99",
             f"{numbers.duration(self.latency_p50_s)} / {numbers.duration(self.latency_p99_s)}"),
            ("played", f"{numbers.count(self.rows_per_s)} rows/s, {numbers.duration(self.playback.wall_s)}"),
            ("longest lag", numbers.duration(self.playback.max_lag_s) if self.context.speed is not None else "no wait"),
            ("seed", self.context.seed),
            ("state", self.context.state),
        ]  # fmt: skip
        parts: list[object] = [self.answer(), fact_table(facts)]
        if self.injections:
            table = make_table("planted", "rows", "alerts", "first row", "to the first alert")
            for each in self.injections:
                first = "–" if each.first_ms is None else format_timestamp(each.first_ms)
                table.add_row(each.injection.kind, str(len(each.rows)), str(each.num_alerts), first,
                              numbers.duration(each.delay_s))  # fmt: skip
            parts += ["", table]
        return parts

    def summary(self) -> str:
        """What the verb prints."""
        return render_text(self.summary_parts())

    def answer(self) -> str:
        """One sentence."""
        if self.injections:
            return "; ".join(map(_answer_of, self.injections)) + "."
        caught = "" if self.recall is None else f"; {_share(self.recall)} of {self.num_frauds:,} frauds are caught"
        return f"{numbers.number(self.num_alerts / self.num_days)} alerts a day{caught}."


def _answer_of(each: InjectionFigures) -> str:
    what = f"{each.num_alerts} of {len(each.rows)} payments of the planted {each.injection.kind} were alerts"
    if each.delay_s is None:
        return what
    return f"{what}, " + (
        f"the first after {numbers.duration(each.delay_s)}" if each.delay_s else "the very first, too"
    )


def _share(rate: Rate) -> str:
    return f"{numbers.number(100 * rate.value)} %"


def _format_rate(rate: Rate | None) -> str:
    return "no row speaks for it" if rate is None else numbers.figure(rate.value, rate.low, rate.high)


def measure(rows: ReplayRows, playback: Playback, context: ReplayContext) -> ReplayReport:
    """The figures of a playback. InputError where the scorer has taken none of the rows."""
    played = np.flatnonzero((rows.origin != HISTORY) & (np.arange(len(rows)) < playback.num_played))
    counts = dict(Counter(playback.status[row] for row in played.tolist()))
    if len(played) and not counts.get(ACCEPTED):
        raise InputError(
            f"none of {len(played)} rows was accepted: {_list_counts(counts)}",
            expected="rows that the state has not seen",
            fix="replay rows behind those of the state, or leave --state and --history out",
        )  # fmt: skip
    scored = played[[playback.status[row] == ACCEPTED for row in played.tolist()]]
    is_alert, verdict, is_own = playback.is_alert[scored], rows.verdict[scored], rows.origin[scored] == OWN
    is_fraud, is_genuine = is_own & (verdict == 1), is_own & (verdict == 0)
    time_ms = rows.time_ms(played) if len(played) else np.zeros(1, np.int64)
    alerts = tuple(
        _alert_record(rows, playback, row)
        for row in scored[is_alert][np.argsort(-playback.chance[scored[is_alert]], kind="stable")].tolist()
    )
    latency = playback.latency_s[played] if len(played) else np.zeros(1)
    caught, false_alarms = int((is_alert & is_fraud).sum()), int((is_alert & is_genuine).sum())
    return ReplayReport(
        context=context, rows=rows, playback=playback, num_rows=len(played), counts=counts,
        start_ms=int(time_ms[0]), end_ms=int(time_ms[-1]), num_alerts=len(alerts), num_false_alarms=false_alarms,
        num_frauds=int(is_fraud.sum()), precision=_rate(caught, caught + false_alarms),
        recall=_rate(caught, int(is_fraud.sum())), false_positive_rate=_rate(false_alarms, int(is_genuine.sum())),
        injections=tuple(_measure_injection(rows, playback, scored, place) for place in range(len(rows.injections))),
        days=_measure_days(rows, scored, is_alert, is_fraud, is_genuine), alerts=alerts,
        latency_p50_s=float(np.quantile(latency, 0.5)), latency_p99_s=float(np.quantile(latency, 0.99)),
        warnings=_warnings(rows, playback, context, counts),
    )  # fmt: skip


def _rate(num_hits: int, num_rows: int) -> Rate | None:
    from deepseek.train.tabular.intervals import exact_interval

    if not num_rows:
        return None
    value = num_hits / num_rows
    low, high = exact_interval(num_hits, num_rows)
    return Rate(value, min(low, value), max(high, value))


def _alert_record(rows: ReplayRows, playback: Playback, row: int) -> AlertRecord:
    names, keys = rows.definition.columns, rows.definition.keys
    verdict = rows.verdict[row]
    known = "unknown" if np.isnan(verdict) else "fraud" if verdict == 1 else "genuine"
    card, terminal = (rows.value(row, keys[name].column) if name in keys else None for name in ("card", "terminal"))
    return AlertRecord(
        row, rows.value(row, names.id), int(rows.time_ms(np.array([row]))[0]), card, terminal,
        rows.value(row, names.amount), float(playback.chance[row]), "planted" if rows.origin[row] >= 0 else known,
        playback.reasons.get(row, Reasons()),
    )  # fmt: skip


def _measure_injection(rows: ReplayRows, playback: Playback, scored: Longs, place: int) -> InjectionFigures:
    own = scored[rows.origin[scored] == place]
    is_alert = playback.is_alert[own]
    first_alert = _alert_record(rows, playback, int(own[is_alert][0])) if is_alert.any() else None
    first_ms = int(rows.time_ms(own[:1])[0]) if len(own) else None
    return InjectionFigures(rows.injections[place], own, is_alert, first_ms, first_alert)


def _measure_days(
    rows: ReplayRows, scored: Longs, is_alert: Any, is_fraud: Any, is_genuine: Any
) -> tuple[DayFigures, ...]:
    """Every day with rows, in order."""
    day, place = np.unique(rows.time_ms(scored) // DAY_MS, return_inverse=True)
    is_planted = rows.origin[scored] >= 0
    masks = (
        np.ones(len(scored), bool), is_alert, is_fraud, is_alert & is_fraud, is_alert & is_genuine, is_planted,
        is_alert & is_planted,
    )  # fmt: skip
    counts = [np.bincount(place[mask], minlength=len(day)).tolist() for mask in masks]
    return tuple(DayFigures(int(each) * DAY_MS, *row) for each, *row in zip(day.tolist(), *counts, strict=True))


def _warnings(rows: ReplayRows, playback: Playback, context: ReplayContext, counts: dict[str, int]) -> tuple[Text, ...]:
    warnings = []
    definition = rows.definition
    days = max(duration_s(key.windows[-1]) for key in definition.keys.values()) / 86_400
    if context.state == "new" and not context.num_history:
        warnings.append(
            Text(
                f"nothing is known before the first row: windows of {days:g} days fill while it plays; --history has "
                "more",
                f"第一行之前没有历史：{days:g} 天的窗口在回放中逐渐填满；可用 --history 提供更早的行",
            )
        )
    if not rows.has_verdicts:
        label = definition.columns.label
        only = "only planted rows get a verdict" if rows.injections else "no row gets a verdict"
        warnings.append(
            Text(
                f"the table has no verdicts ({label!r}): {only}, and no rate is measured",
                f"表中没有判定（{label!r}），无法计算各项比率",
            )
        )
    refused = {name: number for name, number in counts.items() if name != ACCEPTED}
    if refused:
        warnings.append(Text(f"not scored: {_list_counts(refused)}", f"未评分：{_list_counts(refused)}"))
    if playback.max_lag_s > LONG_LAG_S:
        lag = numbers.duration(playback.max_lag_s)
        warnings.append(
            Text(
                f"answers were up to {lag} behind: this machine cannot keep that speed; lower --speed, or take "
                "--no-reasons",
                f"回答最多落后 {lag}：本机跟不上这一速度；请降低 --speed 或用 --no-reasons",
            )
        )
    num_left = playback.status.count(NOT_PLAYED)
    if num_left:
        share = f"{num_left:,} / {len(rows):,}"
        warnings.append(Text(f"stopped: {share} rows were not played", f"已停止：{share} 行未回放"))
    return tuple(warnings)


def _list_counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in sorted(counts.items()))
