"""GET /v1/drift: how far the inputs of each served model have moved, as JSON and as a part of the console.

    page = DriftPage(lambda: [drift_of_events("cards", figures, now_s), read_document("loans", path, digest)], ...)

Measured is what a server knows already: of a model that scores raw events the features that it has computed, against
the test rows of its bundle; of any other the last document of `deepseek observe drift --json` in the folder of its
prediction log. The console shows it beside the alert, which Prometheus gives.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deepseek import look
from deepseek.contracts import JsonObject
from deepseek.data.view.drift import SHIFT_PSI, WATCH_PSI
from deepseek.look import Column, Html, Text, Words, numbers
from deepseek.observe.reading.files import DRIFT_DOCUMENT
from deepseek.serve.core.request import Request, Response

MAX_COLUMNS = 8  # that are shown of a model
OLD_S = 2 * 86_400.0  # a document of longer ago says little of now


@dataclass(frozen=True, slots=True)
class MovedColumn:
    """`since_s`: since when it has drifted, seconds since 1970; None where it is not known. `is_open`: or before that,
    of which no row is left. `matters`: whether the answers depend on it; None where that is not known."""

    name: str
    psi: float
    is_drifted: bool
    since_s: float | None = None
    is_open: bool = False
    matters: bool | None = None


@dataclass(frozen=True, slots=True)
class InputDrift:
    """Of one model. `columns`: the farthest first. `start_s`, `end_s`: of the rows that were measured, seconds since
    1970. `problem`: why there are none; "" where there is nothing wrong."""

    model: str
    source: str  # "events", "document" or "none"
    columns: tuple[MovedColumn, ...] = ()
    num_rows: int = 0
    start_s: float | None = None
    end_s: float | None = None
    is_same_version: bool = True  # whether the served version was measured
    problem: str = ""

    @property
    def drifted_columns(self) -> tuple[MovedColumn, ...]:
        return tuple(column for column in self.columns if column.is_drifted)


def drift_of_events(model: str, figures: Any, now_s: float) -> InputDrift:
    """Of a model that scores raw events. `figures`: its DecisionFigures."""
    starts, first_s = figures.feature_since_s, figures.sampled_since_s
    columns = tuple(
        MovedColumn(name, index, index > SHIFT_PSI, starts.get(name), name in starts and starts[name] <= first_s)
        for name, index in figures.feature_psi.items()
    )
    problem = "" if columns else "few"
    return InputDrift(model, "events", columns, figures.num_sampled, figures.sampled_since_s, now_s, problem=problem)


def read_document(model: str, path: Path, digest: str) -> InputDrift:
    """Of the document of `deepseek observe drift --json` at `path`; "none" where there is no such file.

    A file that is being written, or is no such document, is a problem that is told, not an error.
    """
    try:
        text = path.read_bytes()
    except OSError:
        return InputDrift(model, "none")
    try:
        document = json.loads(text)
        rows = [row for row in document["columns"] if row["psi"] is not None]
        ordered = sorted(rows, key=lambda row: (not row["touches_answers"], not row["drifted"], -float(row["psi"])))
        columns = tuple(map(_read_column, ordered))
        start_s, end_s = (_read_moment(document[name]) for name in ("since", "until"))
        is_same = document.get("digest", digest) == digest
        return InputDrift(model, "document", columns, int(document["num_rows"]), start_s, end_s, is_same)
    except (ValueError, KeyError, TypeError, AttributeError):
        return InputDrift(model, "document", problem="unreadable")


def _read_column(row: Any) -> MovedColumn:
    since = row.get("drifted_since")  # an older release says nothing of it
    return MovedColumn(
        str(row["column"]), float(row["psi"]), bool(row["drifted"]), None if since is None else _read_moment(since),
        bool(row.get("drifted_before_log")), bool(row["touches_answers"]),
    )  # fmt: skip


def _read_moment(text: str) -> float:
    """Of moment_text."""
    return datetime.fromisoformat(text.removesuffix(" UTC")).replace(tzinfo=UTC).timestamp()


class DriftPage:
    """The handler of the route. `measured`: the drift of each served model. `has_log`: whether rows are logged."""

    def __init__(self, measured: Callable[[], Sequence[InputDrift]], *, has_log: bool) -> None:
        self._measured, self._has_log = measured, has_log

    def __call__(self, _: Request) -> Response:
        models = self._measured()
        listed: list[JsonObject] = [asdict(each) | {"num_drifted": len(each.drifted_columns)} for each in models]
        html = draw_drift(models, time.time(), has_log=self._has_log)
        return Response.json({"models": listed, "limit_psi": SHIFT_PSI, "html": str(html)})


def draw_drift(models: Sequence[InputDrift], now_s: float, *, has_log: bool) -> Html:
    """A line for each model that is measured, with a table of what moved; then what to do for the others."""
    ordered = sorted(models, key=lambda each: (not each.drifted_columns, each.model))
    parts = [str(_draw_model(each, now_s)) for each in ordered if each.source != "none"]
    unmeasured = [each.model for each in models if each.source == "none"]
    if unmeasured:
        parts.append(str(_draw_unmeasured(unmeasured, has_log=has_log)))
    return Html("".join(parts))


def _draw_model(model: InputDrift, now_s: float) -> Html:
    name = Html(f"<strong>{look.escape(model.model)}</strong>: ")
    if model.problem:
        return Html(f"<p>{name}{look.inline(PROBLEMS[model.problem])}</p>")
    line = Html(f"<p>{name}{look.verdict('warn' if model.drifted_columns else 'good', _state(model))}</p>")
    return Html(f"{line}{_draw_columns(model, now_s)}{_origin(model, now_s)}")


#: Why a model has no figures.
PROBLEMS = {
    "few": Text(
        "too few events to say. The features of one event in 16 are kept, and 500 of them are compared; they come by "
        "POST /v1/models/M:score.",
        "事件太少，尚无结论。每 16 个事件保留一个的特征，满 500 个后开始比较；事件经 POST /v1/models/M:score 送入。",
    ),
    "unreadable": Text(
        "its document of drift cannot be read. It is being written, or was not made by deepseek observe drift --json: "
        "make it again.",
        "漂移文档无法读取：可能正在写入，或不是由 deepseek observe drift --json 生成。请重新生成。",
    ),
}


def _state(model: InputDrift) -> Text:
    drifted, total = model.drifted_columns, len(model.columns)
    if not drifted:
        return Text(f"none of {total} columns has drifted.", f"{total} 列均未漂移。")
    matter = sum(column.matters is True for column in drifted)
    many = "has" if len(drifted) == 1 else "have"
    en, zh = f"{len(drifted)} of {total} columns {many} drifted", f"{total} 列中有 {len(drifted)} 列发生漂移"
    if all(column.matters is None for column in drifted):
        return Text(f"{en}.", f"{zh}。")
    return Text(f"{en}; the answers depend on {matter} of them.", f"{zh}，其中 {matter} 列影响回答。")


def _draw_columns(model: InputDrift, now_s: float) -> Html:
    """Those that have drifted, or are on the way there."""
    shown = [column for column in model.columns if column.is_drifted or column.psi > WATCH_PSI]
    if not shown:
        return Html("")
    columns = [
        Column(Text("Column", "列"), "text"),
        Column("PSI"),
        Column(Text("Since", "始于"), "text"),
        Column(Text("State", "状态"), "text"),
    ]
    rows = [
        (column.name, numbers.number(column.psi), _since(column, now_s), _column_state(column))
        for column in shown[:MAX_COLUMNS]
    ]
    more = len(shown) - len(rows)
    text = Text(f"{more} more in GET /v1/drift.", f"另有 {more} 列，见 GET /v1/drift。")
    return Html(f"{look.table(columns, rows)}{look.paragraph(text, note=True) if more > 0 else ''}")


def _since(column: MovedColumn, now_s: float) -> Words:
    if column.since_s is None:
        return numbers.UNKNOWN
    moment = _moment(column.since_s, now_s)
    return Text(f"{moment.en} or before", f"{moment.zh}或更早") if column.is_open else moment


def _column_state(column: MovedColumn) -> Html:
    if not column.is_drifted:
        return Html(look.inline(Text("moves: look", "有变化：请留意")))
    if column.matters is False:
        return look.verdict("warn", Text("drifted: hardly matters", "漂移：几乎无影响"))
    return look.verdict("warn", Text("drifted: matters", "漂移：有影响") if column.matters else Text("drifted", "漂移"))


def _origin(model: InputDrift, now_s: float) -> Html:
    """Which rows the figures are of."""
    if model.start_s is None or model.end_s is None:
        return Html("")
    rows, start, end = numbers.count(model.num_rows), _moment(model.start_s, now_s), _moment(model.end_s, now_s)
    if model.source == "events":
        line = Text(f"{rows} events since {start.en}, against the test rows of the bundle.",
                    f"自{start.zh}起的 {rows} 个事件，与模型包的测试行比较。")  # fmt: skip
        return look.paragraph(line, note=True)
    line = Text(f"{rows} rows from {start.en} to {end.en}, against the data card of the bundle.",
                f"{start.zh}至{end.zh}的 {rows} 行，与模型包的数据卡比较。")  # fmt: skip
    parts = [str(look.paragraph(line, note=True))]
    if not model.is_same_version:
        other = Text("Another version was measured than the one that is served: measure again.",
                     "测量的不是当前提供服务的版本：请重新测量。")  # fmt: skip
        parts.append(f"<p>{look.verdict('warn', other)}</p>")
    if now_s - model.end_s > OLD_S:
        old = Text("These rows are old: measure again, by a timer each hour or day.",
                   "这些行较旧：请重新测量，可每小时或每天定时运行。")  # fmt: skip
        parts.append(f"<p>{look.verdict('warn', old)}</p>")
    return Html("".join(parts))


def _moment(moment_s: float, now_s: float) -> Text:
    """How long ago, and when, by the server's clock.

    >>> _moment(0.0, 7_200.0).en
    '2 h 0 min ago (1970-01-01 00:00 UTC)'
    """
    at = datetime.fromtimestamp(moment_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
    ago = numbers.duration(max(0.0, now_s - moment_s))
    return Text(f"{ago} ago ({at})", f"{ago}前（{at}）")


def _draw_unmeasured(names: Sequence[str], *, has_log: bool) -> Html:
    """What to do for models whose drift nobody has measured."""
    few = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    what = Text(f"Nobody has measured the drift of {few}.", f"尚未测量 {few} 的漂移。")
    why = Text(
        "A server logs rows and leaves it to a timer to hold them against the data card of the bundle.",
        "服务器只记录数据行；与模型包数据卡的比较由定时任务完成。",
    )
    start = "deepseek serve BUNDLE --prediction-log predictions\n"
    document = f"predictions/{names[0]}{DRIFT_DOCUMENT}"
    commands = look.command(f"{'' if has_log else start}deepseek observe drift BUNDLE predictions --json > {document}")
    lead = Text("To measure it, then each hour or day:", "测量方法（之后每小时或每天运行）：")
    link, end = Text(" is the folder of ", " 是 "), Text(".", " 的文件夹。")
    logged = f"<code>predictions</code>{look.inline(link)}<code>--prediction-log</code>{look.inline(end)}"
    return Html(f'{look.empty_state(what, why, lead)}{commands}<p class="note">{logged}</p>')
