"""The HTML page of a fleet: the most urgent machine first, each with its remaining life over time and its alarm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deepseek import look
from deepseek.contracts import Float64
from deepseek.features.machines.definition import HEALTH, WindowDefinition
from deepseek.features.machines.warning import Alarm
from deepseek.look import Column, Contribution, Html, Section, Text, Words, numbers
from deepseek.look.tables import Cell
from deepseek.recipes.maintenance.reasons import MachineReasons

MOST_OPEN = 6  # machines whose curve stands open
MOST_DRAWN = 60  # with a curve of their own; the table has all
CURVE_POINTS = 64  # of one curve, at most
MOST_SPARK_POINTS = 40_000  # of all curves in the table: a page stays below two megabytes
URGENT_SHARE = 0.25  # of the cap: below, a machine is counted as urgent


@dataclass(frozen=True, slots=True, eq=False)
class MachineCourse:
    """One machine's remaining life over time, as it was told at each moment."""

    name: str
    time: Float64  # (n,)
    value: Any  # (n,) remaining life
    interval: Any  # (n, 2)
    alarm: Alarm | None
    reasons: MachineReasons | None = None  # of the last answer
    is_silent: bool = False  # nothing comes of it any more, while others go on
    sensor_states: Mapping[str, str] = field(default_factory=dict)  # of sensors that cannot be believed: why

    @property
    def left(self) -> float:
        return float(self.value[-1])


def render_page(courses: Sequence[MachineCourse], definition: WindowDefinition, *, data: str, digest: str) -> str:
    """The page; `data` is the name of the table of sensors, `digest` that of the bundle."""
    ordered = sorted(courses, key=lambda course: (course.left, course.name))
    table = Section(Text("The fleet, most urgent first", "机群（最紧急者在前）"), _table(ordered), id="fleet")
    curves = [
        Section(_title(course), _curve(course, definition), folded=rank > MOST_OPEN, id=f"machine-{rank}")
        for rank, course in enumerate(ordered[:MOST_DRAWN], start=1)
    ]
    provenance: dict[Words, Words | Html] = {
        Text("Sensors", "传感器数据"): data,
        Text("Model", "模型"): digest,
        Text("Remaining life is told up to", "剩余寿命上限"): _with_unit(definition.cap, definition),
    }
    return look.page(
        Text("Remaining life of a fleet", "机群剩余寿命"), _answer(ordered, definition), [table, *curves],
        lead=_lead(definition), provenance=provenance,
    )  # fmt: skip


def _answer(ordered: Sequence[MachineCourse], definition: WindowDefinition) -> Text:
    limit = URGENT_SHARE * definition.cap
    urgent = sum(course.left <= limit for course in ordered)
    alarms = sum(course.alarm is not None for course in ordered)
    text = numbers.number(limit)
    silent = sum(course.is_silent for course in ordered)
    more, more_zh = (f"; {silent} are silent", f"；{silent} 台静默") if silent else ("", "")
    return Text(
        f"{urgent} of {len(ordered)} machines have {text} or less left; {alarms} have an alarm{more}.",
        f"{len(ordered)} 台机器中有 {urgent} 台的剩余寿命不超过 {text}；{alarms} 台有警报{more_zh}。",
    )


def _lead(definition: WindowDefinition) -> Text:
    unit = _unit(definition)
    return Text(
        f"Remaining life is counted in {unit.en}, with the interval that held on machines the model had not learned "
        "from. An alarm stays until a person resets it; it compares a machine with its own best alone.",
        f"剩余寿命以{unit.zh}为单位，区间在模型未学习过的机器上校准。"
        "警报在人工复位之前一直保留，只与机器自身的最佳状态比较。",
    )


def _table(ordered: Sequence[MachineCourse]) -> Html:
    columns = [
        Column(Text("Machine", "机器"), "text"), Column(Text("Life left", "剩余寿命")),
        Column(Text("Alarm since", "警报始于")), Column(Text("Interval", "区间")),
        Column(Text("Course", "走势"), "text"), Column(Text("At time", "时间")),
    ]  # fmt: skip
    has_states = any(course.is_silent or course.sensor_states for course in ordered)
    if has_states:
        columns.append(Column(Text("Data", "数据"), "text"))
    step = 1 + (CURVE_POINTS * len(ordered)) // MOST_SPARK_POINTS
    rows: list[list[Cell]] = []
    for course in ordered:
        low, high = (numbers.number(float(end)) for end in course.interval[-1])
        line = look.sparkline(
            [float(value) for value in course.value[(len(course.value) - 1) % step :: step]],
            title=Text(f"Remaining life of {course.name}", f"{course.name} 的剩余寿命"),
        )
        since = _since(course.alarm)
        cells: list[Cell] = [course.name, course.left, since, f"{low} – {high}", line, float(course.time[-1])]
        rows.append([*cells, _data_state(course)] if has_states else cells)
    return look.table(columns, rows)


def _data_state(course: MachineCourse) -> Html | str:
    """Whether what the machine says can be believed."""
    if course.is_silent:
        return look.verdict("warn", Text("silent: nothing comes", "静默：无数据"))
    if not course.sensor_states:
        return ""
    states = [(name, _SENSOR_STATES[state]) for name, state in sorted(course.sensor_states.items())]
    return look.verdict("warn", Text(
        "; ".join(f"{name} {state.en}" for name, state in states),
        "；".join(f"{name} {state.zh}" for name, state in states),
    ))  # fmt: skip


_SENSOR_STATES = {
    "silent": Text("silent", "静默"), "stuck": Text("stuck", "卡滞"),
    "another unit": Text("in another unit?", "单位不符？"),
}  # fmt: skip


def _since(alarm: Alarm | None) -> Html | str:
    """The alarm in a cell."""
    if alarm is None:
        return ""
    return look.verdict("bad" if alarm.is_active else "warn", numbers.number(alarm.time))


def _alarm(alarm: Alarm) -> Html:
    """The alarm with its reasons, each in units of the machine's own noise."""
    since = numbers.number(alarm.time)
    reasons = ", ".join(f"{each.sensor} {each.change:+.1f} ({each.share:.0%})" for each in alarm.reasons)
    state, state_zh = ("", "") if alarm.is_active else (", quiet now", "，现已平静")
    return look.verdict(
        "bad" if alarm.is_active else "warn",
        Text(
            f"Alarm since {since}{state}, by {reasons}: change in spreads, and share of the drop.",
            f"自 {since} 起有警报{state_zh}，原因：{reasons}（以离散度为单位的变化及其在下降中的份额）。",
        ),
    )


def _title(course: MachineCourse) -> Text:
    left = numbers.number(course.left)
    return Text(f"{course.name}: {left} left", f"{course.name}：剩余 {left}")


def _curve(course: MachineCourse, definition: WindowDefinition) -> Html:
    if len(course.time) < 2:
        return look.empty_state(
            Text("There is no course yet.", "尚无走势。"), Text("The machine has one row.", "该机器只有一行数据。")
        )
    unit = _unit(definition)
    drawing = look.figure(
        look.band, course.time.tolist(), [float(v) for v in course.value],
        [float(v) for v in course.interval[:, 0]], [float(v) for v in course.interval[:, 1]],
        title=Text("Remaining life as told at each moment", "各时刻给出的剩余寿命"),
        x_label=Text(f"time ({unit.en})", f"时间（{unit.zh}）"),
        y_label=Text(f"left ({unit.en})", f"剩余（{unit.zh}）"),
        caption=Text(
            "The band is the interval. The line cannot rise above the cap.", "色带为区间；曲线不会超过上限。"
        ),
    )  # fmt: skip
    alarm = look.paragraph(_alarm(course.alarm)) if course.alarm else ""
    return Html(drawing + alarm + (_reasons(course.reasons) if course.reasons else ""))


def _reasons(reasons: MachineReasons) -> Html:
    """What each sensor adds to the last answer, and where in the course the LSTM looked."""
    steps = [Contribution(_signal(name), value) for name, value in reasons.by_signal]
    drawing = look.figure(
        look.waterfall, steps, base=reasons.base, output=reasons.output, label=Text("life left", "剩余寿命"),
        title=Text("What each sensor adds to the last answer", "各传感器对最近答案的贡献"),
        caption=Text("All windows of a sensor together.", "每个传感器的所有窗口合计。"), num_shown=6,
    )  # fmt: skip
    if not reasons.attention:
        return drawing
    attention = look.figure(
        look.bars, [name for name, _ in reasons.attention], [share for _, share in reasons.attention],
        title=Text("Where in the course the LSTM looked", "LSTM 关注走势的哪一段"),
        label=Text("share of attention, by rows ago", "注意力份额（按距今行数）"),
    )  # fmt: skip
    return Html(drawing + attention)


def _signal(name: str) -> Text:
    return Text("health index", "健康指数") if name == HEALTH else Text(name, name)


def _unit(definition: WindowDefinition) -> Text:
    """What a remaining life is counted in."""
    return Text("hours", "小时") if definition.is_dated else Text(definition.time, definition.time)


def _with_unit(value: float, definition: WindowDefinition) -> Text:
    unit = _unit(definition)
    return Text(f"{numbers.number(value)} {unit.en}", f"{numbers.number(value)} {unit.zh}")
