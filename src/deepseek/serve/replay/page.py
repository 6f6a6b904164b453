"""The HTML page of a replay: the answer, alerts over time, the first alert on what was planted with its reasons, the
queue, the days, how fast it was, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from deepseek import look
from deepseek.data.table.values import format_timestamp
from deepseek.look import Column, Html, Section, Text, Words, numbers
from deepseek.look.tables import Cell
from deepseek.operating_point import Rate
from deepseek.serve.replay.drawing import EventRow, alerts_over_time
from deepseek.serve.replay.figures import AlertRecord, InjectionFigures, ReplayReport

MOST_ALERTS = 30  # in the queue of the page; --json has all
MOST_OPEN_DAYS = 14  # a longer table of days opens on demand
KIND_WORDS = {
    "card": Text("stolen card", "被盗卡"), "terminal": Text("bad terminal", "问题终端"), "ring": Text("ring", "团伙"),
}  # fmt: skip
VERDICT_WORDS = {
    "fraud": Text("fraud", "欺诈"), "genuine": Text("genuine", "正常"), "unknown": Text("no verdict", "无判定"),
    "planted": Text("planted", "植入"),
}  # fmt: skip
COLORS = {"planted": "s2", "fraud": "s1", "genuine": "s4", "unknown": "s3"}


def render_page(report: ReplayReport) -> str:
    """The page; one file without any request."""
    sections = [Section(Text("Alerts over time", "告警时间线"), _timeline(report), id="timeline")]
    sections += [
        Section(
            look.join(Text("What was planted: ", "植入："), KIND_WORDS[each.injection.kind]),
            _injection(each, report), id=f"planted-{each.injection.kind}",
        )
        for each in report.injections
    ]  # fmt: skip
    sections += [
        Section(Text("The queue", "待办队列"), _queue(report), id="queue"),
        Section(Text("How good the alerts are", "告警的质量"), _rates(report), id="rates"),
        Section(Text("Day by day", "逐日"), _days(report), folded=len(report.days) > MOST_OPEN_DAYS, id="days"),
        Section(Text("How fast", "速度"), _speed(report), id="speed"),
    ]
    return look.page(
        Text("A replay of card payments", "卡支付回放"), _answer(report), sections, lead=_lead(report),
        provenance=_provenance(report),
    )  # fmt: skip


def _answer(report: ReplayReport) -> Words:
    if not report.injections:
        a_day = numbers.number(report.num_alerts / report.num_days)
        caught = Text("", "")
        if report.recall is not None:
            share, number = numbers.number(100 * report.recall.value), numbers.count(report.num_frauds)
            caught = Text(f"; {share} % of {number} frauds are caught", f"；{number} 笔欺诈中抓住 {share} %")
        return Text(f"{a_day} alerts a day{caught.en}.", f"每天 {a_day} 个告警{caught.zh}。")
    parts = [_answer_of(each) for each in report.injections]
    return Text("; ".join(part.en for part in parts) + ".", "；".join(part.zh for part in parts) + "。")


def _answer_of(each: InjectionFigures) -> Text:
    kind, number = KIND_WORDS[each.injection.kind], len(each.rows)
    first = Text("", "")
    if each.delay_s is not None:
        after = numbers.duration(each.delay_s)
        first = Text(f", the first after {after}", f"，首个告警在 {after} 之后")
        if not each.delay_s:
            first = Text(", the very first, too", "，第一笔就在其中")
    return Text(
        f"{each.num_alerts} of {number} payments of the planted {kind.en} were alerts{first.en}",
        f"植入的{kind.zh}：{number} 笔支付中有 {each.num_alerts} 笔告警{first.zh}",
    )


def _lead(report: ReplayReport) -> Text:
    days, rows = numbers.number(report.num_days), numbers.count(report.num_rows)
    a_day = numbers.number(report.num_alerts / report.num_days)
    false = Text("", "")
    if report.false_alarms_a_day is not None:
        number = numbers.number(report.false_alarms_a_day)
        false = Text(f", {number} of them false", f"，其中误报 {number} 个")
    return Text(
        f"{rows} rows of {days} days were played in the order of time; verdicts came when the label delay of "
        f"{report.rows.definition.label_delay} was over. There were {a_day} alerts a day{false.en}.",
        f"按时间顺序回放了 {days} 天的 {rows} 行；判定在 {report.rows.definition.label_delay} 的延迟之后到达。"
        f"每天 {a_day} 个告警{false.zh}。",
    )


def _timeline(report: ReplayReport) -> Html:
    rows = [
        EventRow(
            KIND_WORDS[each.injection.kind],
            report.rows.time_ms(each.rows[each.is_alert]).tolist(),
            report.rows.time_ms(each.rows[~each.is_alert]).tolist(),
            COLORS["planted"],
        )
        for each in report.injections
    ]
    rows += [
        EventRow(look.join(Text("alert: ", "告警："), VERDICT_WORDS[name]), times, [], COLORS[name])
        for name in ("fraud", "genuine", "unknown")
        if (times := [alert.time_ms for alert in report.alerts if alert.verdict == name])
    ]
    if not rows:
        return look.empty_state(
            Text("There was no alert.", "没有告警。"),
            Text("No chance reached the threshold.", "没有任何概率达到阈值。"),
        )
    return look.figure(
        alerts_over_time, rows, [day.day_ms for day in report.days], [day.num_alerts for day in report.days],
        title=Text("Each alert, and alerts a day", "每个告警与每天告警数"), x_label=Text("time (UTC)", "时间（UTC）"),
        y_label=Text("alerts a day", "每天告警数"),
        caption=Text(
            "What was planted comes first: a faint dot is a payment that was no alert. Every other dot is an alert; "
            "bars count all alerts of a day.",
            "植入的支付排在前面，浅色点表示未触发告警的支付。其余每个圆点是一个告警；柱形为每天全部告警数。",
        ),
    )  # fmt: skip


def _injection(each: InjectionFigures, report: ReplayReport) -> Html:
    facts: dict[Words, Cell] = {
        Text("Payments played / alerts", "回放的支付 / 告警"): f"{len(each.rows)} / {each.num_alerts}",
        Text("Cards / terminals", "卡 / 终端"): f"{len(each.injection.cards)} / {len(each.injection.terminals)}",
        Text("First payment", "首笔支付"): None if each.first_ms is None else _moment(each.first_ms),
    }
    if each.first_alert is None:
        none = look.empty_state(
            Text("None of its payments was an alert.", "其支付均未触发告警。"),
            Text(
                f"The highest chance was {_highest(each, report)}; an alert needs "
                f"{numbers.number(report.context.threshold)}.",
                f"最高概率为 {_highest(each, report)}；告警需要 {numbers.number(report.context.threshold)}。",
            ),
        )
        return Html(look.facts(facts) + none)
    alert = each.first_alert
    facts |= {
        Text("First alert", "首个告警"): _moment(alert.time_ms),
        Text("Time until then", "历时"): numbers.duration(each.delay_s),
        Text("Id", "编号"): str(alert.id),
        Text(
            "Card, terminal, amount", "卡、终端、金额"
        ): f"{alert.card}, {alert.terminal}, {_amount(alert.amount, report)}",
        Text("Chance of fraud", "欺诈概率"): numbers.number(alert.chance),
    }
    why = Html("")
    if alert.reasons.en:
        why = Html(
            f"<h3>{look.inline(Text('Why it was an alert', '告警原因'))}</h3>{look.bullet_list(_reasons(alert))}"
        )
    return Html(look.facts(facts) + why)


def _highest(each: InjectionFigures, report: ReplayReport) -> str:
    return numbers.number(float(np.max(report.playback.chance[each.rows], initial=0.0)))


def _reasons(alert: AlertRecord) -> list[Words]:
    chinese = alert.reasons.zh or alert.reasons.en
    return [Text(en, zh) for en, zh in zip(alert.reasons.en, chinese, strict=True)]


def _queue(report: ReplayReport) -> Html:
    columns = [
        Column(Text("Chance", "概率")), Column(Text("Time (UTC)", "时间"), "text"), Column(Text("Id", "编号"), "text"),
        Column(Text("Card", "卡"), "text"), Column(Text("Terminal", "终端"), "text"), Column(Text("Amount", "金额")),
        Column(Text("Verdict", "判定"), "text"),
    ]  # fmt: skip
    rows: list[list[Cell]] = []
    for alert in report.alerts[:MOST_ALERTS]:
        names = map(_unbroken, (_moment(alert.time_ms), alert.id, alert.card, alert.terminal))
        rows.append([numbers.number(alert.chance), *names, _amount(alert.amount, report), VERDICT_WORDS[alert.verdict]])
    shown, number = len(rows), len(report.alerts)
    words = Text(
        f"The {shown} alerts with the highest chance, of {numbers.count(number)}. --json has all, with their reasons.",
        f"{numbers.count(number)} 个告警中概率最高的 {shown} 个。--json 给出全部告警及其原因。",
    )
    return Html((look.paragraph(look.nowrap_options(words)) if rows else "") + look.table(columns, rows))


def _unbroken(value: object) -> Html:
    """A name that stays in one line."""
    return Html(f'<span class="option">{look.escape(value)}</span>')


def _amount(amount: object, report: ReplayReport) -> str:
    """With as many digits behind the point as the amounts of the definition have."""
    decimals = report.rows.definition.amount_decimals
    return f"{amount:,.{decimals}f}" if isinstance(amount, int | float) else str(amount)


def _rates(report: ReplayReport) -> Html:
    words = Text(
        "Of the table's own rows that have a verdict; what was planted is not in these figures.",
        "仅统计表中自身带有判定的行；植入的支付不计入。",
    )
    rows = [
        (Text("Precision: alerts that are fraud", "精确率：告警中为欺诈的占比"), report.precision),
        (Text("Recall: frauds that are alerts", "召回率：欺诈中被告警的占比"), report.recall),
        (Text("False-positive rate", "误报率"), report.false_positive_rate),
    ]
    facts: dict[Words, Cell] = {name: _figure(rate) for name, rate in rows}
    facts[Text("False alarms a day", "每天误报数")] = numbers.number(report.false_alarms_a_day)
    return Html(look.paragraph(words) + look.facts(facts))


def _figure(rate: Rate | None) -> Cell:
    if rate is None:
        return Text("no row speaks for it", "没有可用的行")
    return numbers.figure(rate.value, rate.low, rate.high)


def _days(report: ReplayReport) -> Html:
    titles = [
        Text("Rows", "行数"), Text("Alerts", "告警"), Text("Frauds", "欺诈"), Text("Caught", "抓住"),
        Text("False alarms", "误报"), Text("Planted", "植入"), Text("Of these alerts", "其中告警"),
    ]  # fmt: skip
    rows: list[list[Cell]] = [
        [format_timestamp(day.day_ms), day.num_rows, day.num_alerts, day.num_frauds, day.num_caught,
         day.num_false_alarms, day.num_planted, day.num_planted_alerts]
        for day in report.days
    ]  # fmt: skip
    return look.table([Column(Text("Day (UTC)", "日期"), "text"), *map(Column, titles)], rows)


def _speed(report: ReplayReport) -> Html:
    speed = report.context.speed
    how = Text(
        "From the moment a row is due until its answer is on the disk."
        if speed is not None
        else "Nobody waited: rows were answered up to 1,024 together, and a row's latency is that of its group.",
        "从一行到期到其回答写入磁盘。"
        if speed is not None
        else "不等待：每组最多 1,024 行一起回答，单行延迟即该组的延迟。",
    )
    p50, p99 = numbers.duration(report.latency_p50_s), numbers.duration(report.latency_p99_s)
    facts: dict[Words, Cell] = {
        Text("Latency of a row, p50 / p99", "单行延迟 p50 / p99"): f"{p50} / {p99}",
        Text("Rows a second", "每秒行数"): numbers.count(report.rows_per_s),
        Text("Time it took", "耗时"): numbers.duration(report.playback.wall_s),
    }
    if speed is not None:
        facts[Text("Longest lag", "最大滞后")] = numbers.duration(report.playback.max_lag_s)
    return Html(look.paragraph(how) + look.facts(facts))


def _provenance(report: ReplayReport) -> Mapping[Words, Words | Html]:
    context = report.context
    state = Text("new", "新建") if context.state == "new" else context.state
    lines: dict[Words, Words | Html] = {
        Text("Data", "数据"): context.transactions,
        Text("From / to (UTC)", "起止（UTC）"): f"{_moment(report.start_ms)} – {_moment(report.end_ms)}",
        Text("Bundle", "模型包"): context.bundle,
        Text("Digest", "摘要"): context.digest,
        Text("State", "状态"): state,
        Text("Speed", "速度"): Text("without waiting", "不等待")
        if context.speed is None
        else f"{numbers.format_value(context.speed)}×",
        Text("Threshold of an alert", "告警阈值"): numbers.number(context.threshold),
        Text("Seed of what was planted", "植入的随机种子"): str(context.seed),
    }
    if report.warnings:
        lines[Text("Warnings", "提示")] = look.bullet_list(report.warnings)
    return lines


def _moment(time_ms: int) -> str:
    """To the second, with a space: 2025-03-02 01:03:05."""
    return format_timestamp(time_ms // 1_000 * 1_000).replace("T", " ")
