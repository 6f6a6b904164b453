"""The whole way from a log to what drifted: which rows, each column, all of them, the answers, how good they still
are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from deepseek.bundle.read import Bundle
from deepseek.contracts import JsonObject
from deepseek.errors import InputError
from deepseek.look import Text
from deepseek.observe.drift.answers import measure_performance, probability_columns
from deepseek.observe.drift.change import Changes
from deepseek.observe.drift.columns import ColumnDrift, measure_columns
from deepseek.observe.drift.joint import SPANS, JointDrift, Span, measure_jointly
from deepseek.observe.drift.performance import Performance
from deepseek.observe.drift.reference import DESCRIBED, ColumnReference, read_reference
from deepseek.observe.drift.since import DriftStart, find_starts
from deepseek.observe.drift.texts import read_text_encoders
from deepseek.observe.predictions.pictures import PARTS
from deepseek.observe.predictions.rows import HASH_BYTES
from deepseek.observe.reading.ndjson import quote_name, quote_text
from deepseek.observe.reading.tables import Logs
from deepseek.observe.why.windows import moment_text

INPUT_PREFIX = "input."
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class DriftReport:
    """`columns`: those with the largest impact first. `answer`: the labels that were answered against the target of the
    training rows. `unknown`: columns of the log that the card does not know; `absent`: columns of the card that the log
    lacks; `withheld`: those whose values the card does not tell."""

    start_s: float
    end_s: float
    num_rows: int
    num_reference: int
    columns: tuple[ColumnDrift, ...]
    answer: ColumnDrift | None
    joint: JointDrift | None
    performance: Performance | None
    expected_metrics: dict[str, float]  # what the bundle promises
    unknown: tuple[str, ...]
    absent: tuple[str, ...]
    withheld: tuple[str, ...]
    num_other_models: int
    digest: str  # of the bundle
    starts: Mapping[str, DriftStart]  # of the columns that have drifted
    notes: tuple[Text, ...] = ()

    @property
    def drifted_columns(self) -> tuple[ColumnDrift, ...]:
        return tuple(each for each in self.columns if each.is_drifted)

    def to_dict(self) -> JsonObject:
        """For --json; `deepseek observe expose` and the console read columns, and of each column and psi."""
        return {
            "since": moment_text(self.start_s), "until": moment_text(self.end_s), "num_rows": self.num_rows,
            "num_reference_rows": self.num_reference,
            "columns": [_column_dict(each) | self._start_dict(each.name) for each in self.columns],
            "answer": None if self.answer is None else _column_dict(self.answer),
            "joint": None if self.joint is None else {
                "auc": self.joint.auc, "p_value": self.joint.p_value, "num_rows": self.joint.num_rows
            },
            "change": None if self.joint is None else _changes_dict(self.joint.changes),
            "performance": None if self.performance is None else _performance_dict(self.performance),
            "promised": self.expected_metrics, "unknown": list(self.unknown), "absent": list(self.absent),
            "withheld": list(self.withheld), "num_other_models": self.num_other_models,
            "digest": self.digest, "notes": [note.en for note in self.notes],
        }  # fmt: skip

    def _start_dict(self, name: str) -> JsonObject:
        start = self.starts.get(name)
        if start is None:
            return {"drifted_since": None, "drifted_before_log": False}
        return {"drifted_since": moment_text(start.start_s), "drifted_before_log": start.is_open}


def find_drift(
    bundle: Bundle, logs: Logs, *, since_s: float = DAY_S, until_s: float | None = None, now_s: float = np.inf,
    any_version: bool = False, notes: tuple[Text, ...] = (),
) -> DriftReport:  # fmt: skip
    """The drift of the rows of the last `since_s` seconds. InputError where none is of this bundle, or none has a
    column of its card."""
    reference = read_reference(bundle)
    names = logs.columns
    prefix = INPUT_PREFIX if any(name.startswith(INPUT_PREFIX) for name in names) else ""
    known = [each for each in reference.columns if prefix + each.name in names]
    if not known and not _described_columns(bundle, names, prefix):
        raise InputError(
            f"the log has none of the columns of {bundle.path.name}: it has {', '.join(list(names)[:12])}",
            expected=f"columns as {prefix or INPUT_PREFIX}{bundle.manifest.inputs[0].name}",
            fix="log with --prediction-log FOLDER, without inputs=none",
        )
    is_ours, num_other = _own_rows(bundle, logs, any_version)
    columns = _compared_columns(bundle, names, known, prefix)
    _check_not_hashed(logs, is_ours, columns)
    last_s = logs.query(f"SELECT max(time) FROM rows WHERE {is_ours} AND time <= {min(now_s, 1e15)!r}")[0][0]
    end_s = float(until_s if until_s is not None else last_s)
    where = f"({is_ours} AND time >= {end_s - since_s!r} AND time <= {end_s!r})"
    num_rows = logs.count(f"SELECT count(*) FROM rows WHERE {where}")
    if not num_rows:
        raise InputError("the window has no row", expected="rows of this model", fix="give a longer --since")
    classes, encoders = bundle.manifest.labels, read_text_encoders(bundle)
    span = Span(is_ours, end_s, since_s)
    outputs = probability_columns(logs, classes)[1:] or [name for name in ("value",) if name in names]
    joint = measure_jointly(logs, span, [*columns, *outputs], encoders, prefix)
    target = reference.target
    answer = None
    if target is not None and "prediction" in names and target.kind == "category":
        (answer,) = measure_columns(
            logs, f"{where} AND prediction IS NOT NULL", [replace(target, name="prediction")], ""
        )
    measured = tuple(measure_columns(logs, where, known, prefix))
    drifted = {each.name for each in measured if each.is_drifted}
    starts = find_starts(
        logs, is_ours, [each for each in known if each.name in drifted], end_s=end_s, since_s=since_s, prefix=prefix
    )
    return DriftReport(
        max(end_s - since_s, logs.query(f"SELECT min(time) FROM rows WHERE {where}")[0][0]), end_s, num_rows,
        reference.num_rows, measured, answer, joint,
        measure_performance(logs, span, classes, columns, encoders, prefix), _read_promised_metrics(bundle),
        _unknown_columns(bundle, names, prefix),
        tuple(each.name for each in reference.columns if each not in known), reference.withheld, num_other,
        bundle.digest, starts, notes,
    )  # fmt: skip


def _compared_columns(
    bundle: Bundle, names: Mapping[str, str], known: Sequence[ColumnReference], prefix: str
) -> list[str]:
    """Columns of the log that are held against earlier rows: those of the card, and free texts and files."""
    columns = [prefix + each.name for each in known]
    return list(dict.fromkeys([*columns, *_described_columns(bundle, names, prefix)]))


def _described_columns(bundle: Bundle, names: Mapping[str, str], prefix: str) -> list[str]:
    """Columns of free texts and files, and those that the log has of what is in a picture."""
    inputs = [prefix + each.name for each in bundle.manifest.inputs if each.modality in DESCRIBED]
    measured = [f"{name}: {part}" for name in inputs for part in PARTS]
    return [name for name in (*inputs, *measured) if name in names]


def _check_not_hashed(logs: Logs, where: str, columns: Sequence[str]) -> None:
    """InputError for a log whose inputs are hashes, which no range and no level of a card holds: all would have
    drifted."""
    texts = [name for name in columns if logs.columns[name] == "VARCHAR"]
    if len(texts) < len(columns):
        return
    other = " OR ".join(f"NOT regexp_full_match({quote_name(name)}, '[0-9a-f]{{{2 * HASH_BYTES}}}')" for name in texts)
    some = " OR ".join(f"{quote_name(name)} IS NOT NULL" for name in texts)
    if logs.count(f"SELECT count(*) FILTER ({some}) FROM rows WHERE {where}") and not logs.count(
        f"SELECT count(*) FILTER ({other}) FROM rows WHERE {where}"
    ):
        raise InputError(
            "the inputs of this log are hashes", expected="values that a data card can be compared with",
            fix="log with --prediction-log FOLDER,inputs=values",
        )  # fmt: skip


def _own_rows(bundle: Bundle, logs: Logs, any_version: bool) -> tuple[str, int]:
    """SQL for the rows of this bundle, and how many rows of others there are."""
    columns = logs.columns
    if any_version or "digest" not in columns:
        return "true", 0
    is_ours = f"digest = {quote_text(bundle.digest)}"
    ours, others = logs.query(
        f"SELECT count(*) FILTER ({is_ours}), count(*) FILTER (digest <> {quote_text(bundle.digest)}) FROM rows"
    )[0]
    if not ours:
        versions = logs.query("SELECT DISTINCT model || ' ' || version FROM rows LIMIT 5")
        raise InputError(
            f"no row of the log was answered by {bundle.path.name}; it has rows of "
            + ", ".join(str(row[0]) for row in versions),
            expected=f"rows with the digest {bundle.digest[:12]}…",
            fix="name the bundle that was served, or --any-version",
        )  # fmt: skip
    return is_ours, int(others)


def _unknown_columns(bundle: Bundle, names: Mapping[str, str], prefix: str) -> tuple[str, ...]:
    """Inputs in the log that the bundle does not have; of a log without a prefix none can be told."""
    inputs = {each.name for each in bundle.manifest.inputs}
    if not prefix:
        return ()
    return tuple(
        name.removeprefix(prefix)
        for name in names
        if name.startswith(prefix)
        and name.removeprefix(prefix) not in inputs
        and not any(name.removeprefix(f"{prefix}{each}: ") in PARTS for each in inputs)
    )


def _read_promised_metrics(bundle: Bundle) -> dict[str, float]:
    """Accuracy and AUC on the test rows of the bundle, where it has them."""
    if not bundle.has("evidence/metrics.json"):
        return {}
    metrics = json.loads(bundle.read("evidence/metrics.json"))
    metrics = metrics.get("metrics", metrics)
    return {name: float(metrics[name]["value"]) for name in ("accuracy", "auc") if name in metrics}


def _column_dict(column: ColumnDrift) -> JsonObject:
    return {
        "column": column.name, "kind": column.kind, "num_rows": column.num_rows, "psi": column.psi,
        "distance": column.distance, "p_value": column.p_value, "missing_share": column.missing_share,
        "reference_missing_share": column.past_missing_share, "other_share": column.unseen_share,
        "drifted": column.is_drifted, "importance": column.importance, "impact": column.impact,
        "touches_answers": column.touches_answers,
    }  # fmt: skip


def _changes_dict(changes: Changes) -> JsonObject:
    return {
        "p_value": changes.p_value, "alarm": changes.is_alarm,
        "spans": [
            {
                "windows": num_windows, "num_rows": each.num_rows, "p_value": each.p_value,
                "signs": [
                    {"test": sign.family, "columns": list(sign.columns), "detail": sign.detail, "p_value": sign.p_value}
                    for sign in each.signs
                ],
            }
            for num_windows, each in zip(SPANS, changes.spans, strict=False)
        ],
    }  # fmt: skip


def _performance_dict(performance: Performance) -> JsonObject:
    observed = performance.observed
    return {
        "estimated": {name: figure.to_dict() for name, figure in performance.estimated.items()},
        "observed": None if observed is None else {name: figure.to_dict() for name, figure in observed.items()},
        "num_rows": performance.num_rows, "num_labels": performance.num_labels,
        "num_past_labels": performance.num_past_labels,
        "recalibrated": performance.is_recalibrated,
    }  # fmt: skip
