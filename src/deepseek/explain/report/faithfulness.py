"""The trust panel of a page: what was measured, and of each measure one sentence that needs no mathematics.

faithfulness_sections(report)      a FaithfulnessReport, or SkippedFaithfulness: then why, and what to do
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from deepseek import look
from deepseek.explain.evaluation.masking_faithfulness import FEW_PLAYERS
from deepseek.explain.evaluation.records import (
    Faithfulness,
    FaithfulnessReport,
    PartFaithfulness,
    RandomizationStep,
    RowFaithfulness,
    SkippedFaithfulness,
)
from deepseek.explain.records import CounterfactualReport, NearestRow, RemovedToken
from deepseek.explain.report.coherence import coherence_notes
from deepseek.explain.report.rows import name_answer
from deepseek.look import Column, Html, Section, Text, Words, figure, numbers
from deepseek.look.chinese.page_texts import in_both_languages
from deepseek.look.tables import Cell

MAX_CURVE_ROWS = 10  # rows with their curves
MAX_COUNTERFACTUAL_TOKENS = 30  # of a counterfactual
Measured = Sequence[RowFaithfulness | PartFaithfulness]
#: Up to where a measure is called good. Nobody has proven such limits; the figures stand beside the verdicts.
INFIDELITY, SENSITIVITY, AGREEMENT, SIMILARITY = 0.5, 0.5, 0.5, 0.5
_TITLE = Text("How far to trust it", "可信程度")
#: What is taken away, one and many.
_UNITS = {
    "columns": (Text("A column", "某列"), Text("columns", "列")),
    "tokens": (Text("A token", "某个词元"), Text("tokens", "词元")),
    "regions": (Text("A region", "某个区域"), Text("regions", "区域")),
    "stretches": (Text("A stretch", "某个时段"), Text("stretches", "时段")),
    "cells": (Text("A sound", "某段声音"), Text("sounds", "声音片段")),
}
_REMOVAL_TEXTS = {
    "mask": Text("by the mask that the model was trained with", "代之以模型训练时所用的掩码"),
    "attention": Text("by leaving it out of the attention", "将其排除在注意力之外"),
    "missing": Text("as if it were missing", "视为缺失"),
}


def faithfulness_sections(report: Faithfulness | None, column: str | None = None) -> list[Section]:
    """One section that says how far the explanations hold, or why nothing was measured; none for None. `column` is what
    is predicted."""
    if report is None:
        return []
    if isinstance(report, SkippedFaithfulness):
        body = look.empty_state(
            Text("It was not measured how far these explanations can be trusted.", "尚未测量这些解释的可信程度。"),
            Text(f"Why: {report.why}.", f"原因：{in_both_languages(report.why).zh}。"),
            Text("Add --trust to the command to measure it all the same.", "在命令中加上 --trust 即可测量。")
            if report.expected_s
            else "",
        )
        return [Section(_TITLE, body, id="trust")]
    rows, unit = report.rows, report.unit or "columns"
    verdicts = [*_curve_verdicts(rows, unit), *_measure_verdicts(rows, report.second, unit), *_part_verdicts(report)]
    verdicts += _randomization_verdicts(report.randomization)
    parts: list[Html] = [look.bullet_list(verdicts, plain=True), look.paragraph(_cost_text(report), note=True)]
    parts += [look.paragraph(look.verdict("warn", in_both_languages(note)), note=True) for note in report.notes]
    for place, row in enumerate(rows[:MAX_CURVE_ROWS]):
        parts.append(_row_html(row, unit, column, is_open=place == 0))
    if len(rows) > MAX_CURVE_ROWS:
        num_more = len(rows) - MAX_CURVE_ROWS
        more = Text(f"{num_more} more rows are in the JSON.", f"其余 {num_more} 行见 JSON。")
        parts.append(look.paragraph(more, note=True))
    return [Section(_TITLE, Html("".join(parts)), id="trust")]


def _cost_text(report: FaithfulnessReport) -> Text:
    """How parts are taken away, how many answers that took, and how long."""
    count, took = numbers.count(report.num_evaluations), numbers.duration(report.seconds)
    one, _ = _UNITS[report.unit or "columns"]
    num, source = report.num_others, report.others_of
    removal = _REMOVAL_TEXTS.get(
        report.taken_away or "",
        Text(
            f"by giving it the values of {num} others ({source})",
            f"代之以另外 {num} 行的取值（{in_both_languages(source).zh}）",
        ),
    )
    return Text(
        f"{one.en} is taken away {removal.en}. {count} answers of the model in {took}, seed {report.seed}.",
        f"去掉{one.zh}，即{removal.zh}。共计算模型 {count} 次，用时 {took}，随机种子 {report.seed}。",
    )


def _verdict(is_good: bool, words: Text) -> Html:
    return look.verdict("good" if is_good else "warn", words)


def _curve_verdicts(rows: Measured, unit: str, owner: Text | None = None) -> list[Html]:
    """In how many rows the order of the explanation beats random orders. `owner`: whose parts they are."""
    verdicts = []
    many, owner = _UNITS[unit][1], owner or Text("", "")
    judged = [row for row in rows if row.num_players > FEW_PLAYERS]
    if not judged:
        words = Text(
            f"{owner.en}Of {FEW_PLAYERS} {many.en} or fewer there are so few orders that no order can be told from "
            "chance.",
            f"{owner.zh}{many.zh}不超过 {FEW_PLAYERS} 个时，顺序太少，无法与随机顺序区分。",
        )
        return [look.inline(words)]
    for name, en, zh in (
        ("deletion", f"Taking {many.en} away, first what speaks most for the answer, lowers it faster than chance",
         f"由最支持该结果者起，依次去掉各{many.zh}，结果下降得比随机顺序更快"),
        ("insertion",
         f"Bringing {many.en} back, first what speaks most for the answer, raises it faster than chance",
         f"由最支持该结果者起，依次加回各{many.zh}，结果上升得比随机顺序更快"),
    ):  # fmt: skip
        num_passing = sum(getattr(row, name).passes for row in judged)
        words = Text(
            f"{owner.en}{en} in {num_passing} of {len(judged)} rows: beyond 95 % of random orders.",
            f"{owner.zh}{zh}：{len(judged)} 行中有 {num_passing} 行优于 95 % 的随机顺序。",
        )
        verdicts.append(_verdict(2 * num_passing > len(judged), words))
    return verdicts


def _part_verdicts(report: FaithfulnessReport) -> list[Html]:
    """The verdicts on each column whose parts were explained, too."""
    parts = [part for row in report.rows for part in row.parts or ()]
    verdicts = []
    for column in dict.fromkeys(part.column for part in parts):
        some = [part for part in parts if part.column == column]
        name = numbers.clip(column)
        owner, unit = Text(f"{name}: ", f"{name}："), some[0].unit
        verdicts += _curve_verdicts(some, unit, owner)
        verdicts += _measure_verdicts(some, report.parts_second or "", unit, owner)
    return verdicts


def _finite_values(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None and math.isfinite(value)]


def _measure_verdicts(rows: Measured, second: str, unit: str, owner: Text | None = None) -> list[Html]:
    """Infidelity, sensitivity and the agreement with the method `second`, where they were measured."""
    verdicts = []
    many, owner = _UNITS[unit][1], owner or Text("", "")
    infidelities = _finite_values(row.infidelity for row in rows)
    if infidelities:
        middle, words = median(infidelities), numbers.number(100 * median(infidelities))
        verdicts.append(_verdict(middle <= INFIDELITY, Text(
            f"{owner.en}What {many.en} are said to add is what the answer loses without them, but for {words} % of the "
            "loss (infidelity, squared; 0 is perfect).",
            f"{owner.zh}各{many.zh}的贡献与去掉它们后结果的实际损失相符，偏差为损失的 {words} %"
            "（不忠实度，平方值；0 为完美）。",
        )))  # fmt: skip
    sensitivities = _finite_values(row.sensitivity for row in rows)
    if sensitivities:
        words = numbers.number(100 * max(sensitivities))
        verdicts.append(_verdict(max(sensitivities) <= SENSITIVITY, Text(
            f"{owner.en}Rows that hardly differ get explanations that hardly differ: by {words} % at most (maximum "
            "sensitivity).",
            f"{owner.zh}几乎相同的行得到几乎相同的解释：最多相差 {words} %（最大敏感度）。",
        )))  # fmt: skip
    agreements = [row.agreement for row in rows if row.agreement is not None]
    if agreements:
        rank = median(agreement.rank_correlation for agreement in agreements)
        shared = numbers.number(100 * sum(agreement.shared_of_5 for agreement in agreements) / len(agreements))
        verdicts.append(_verdict(rank >= AGREEMENT, Text(
            f"{owner.en}A second method ({second}) orders the {many.en} alike: rank correlation {numbers.number(rank)} "
            f"(1 is the same order), {shared} % of the five strongest are the same.",
            f"{owner.zh}另一种方法（{in_both_languages(second).zh}）给出相近的顺序："
            f"秩相关 {numbers.number(rank)}（1 为完全一致），最强的五个{many.zh}中 {shared} % 相同。",
        )))  # fmt: skip
    return verdicts


def _randomization_verdicts(steps: Sequence[RandomizationStep]) -> list[Html]:
    """Whether the explanation changes with the weights of the model."""
    if not steps:
        return []
    last = steps[-1].similarity
    layers = [(in_both_languages(step.layer), numbers.number(step.similarity)) for step in steps]
    listed = ", ".join(f"{name.en} {likeness}" for name, likeness in layers)
    listed_zh = "、".join(f"{name.zh} {likeness}" for name, likeness in layers)
    return [_verdict(last <= SIMILARITY, Text(
        "When all that the model has learned is shuffled, the explanation changes with it: likeness to the true one "
        f"{numbers.number(last)} (1 would mean that it does not depend on the model). One after the other: {listed}.",
        f"打乱模型学到的内容后，解释也随之改变：与原解释的相似度为 {numbers.number(last)}"
        f"（1 表示解释与模型无关）。依次：{listed_zh}。",
    ))]  # fmt: skip


def _row_html(row: RowFaithfulness, unit: str, column: str | None, *, is_open: bool) -> Html:
    """One row: what would change its answer, the nearest rows, its curves, and all of it as JSON."""
    answer = f": {name_answer(row.prediction, column)}" if row.prediction else ""
    title = look.join(Text(f"Row {row.row_id}", f"第 {row.row_id} 行"), answer)
    data = {key: value for key, value in row.items() if key not in {"row_id", "prediction"}}
    what = None if row.curve_class is None else look.name_class(row.curve_class, column)
    curves = [_curve_plots(row, unit, what)]
    curves += [_curve_plots(part, part.unit, what, part.column) for part in row.parts or ()]
    plots = "".join(curves)
    if plots and not is_open:
        on_screen = Text("Its curves are on the page on a screen.", "其曲线见屏幕版页面。")
        plots = f'<div class="screen">{plots}</div><p class="paper note">{look.inline(on_screen)}</p>'
    others = [_counterfactual_html(row.counterfactual, column), _nearest_table(row.nearest)]
    body = "".join([*others, plots, look.as_json(data)])
    if is_open:
        return Html(f"<h3>{look.inline(title)}</h3>{body}")
    return Html(f'<details class="half"><summary>{look.inline(title)}</summary>{body}</details>')


def _curve_plots(row: RowFaithfulness | PartFaithfulness, unit: str, what: str | None, column: str = "") -> str:
    """The deletion and insertion curves of a row, or of the parts of one of its columns: those of the answer for the
    class `what`, None for a value."""
    many, prefix = _UNITS[unit][1], f"{numbers.clip(column)}: " if column else ""
    speaks = Text(f"speaks for {what}", f"最支持 {what} ") if what else Text("raises it most", "提高最多")
    caption = Text(
        f"The line takes {many.en} in the order of the explanation, first what {speaks.en}; 95 % of random orders lie "
        "in the band.",
        f"曲线按解释的顺序处理各{many.zh}，先处理{speaks.zh}者；95 % 的随机顺序落在阴影带内。",
    )
    y_label = Text("the answer, on the scale of the model", "结果（模型尺度）")
    if what is not None:
        y_label = Text(f"the answer {what}, on the scale of the model", f"结果 {what}（模型尺度）")
    plots = []
    for curve, title, x_label in (
        (row.deletion, Text(f"{prefix}Taken away, first what {speaks.en}", f"{prefix}依次去掉，先去掉{speaks.zh}者"),
         Text(f"share of {many.en} taken away", f"去掉的{many.zh}占比")),
        (row.insertion, Text(f"{prefix}Brought back, first what {speaks.en}", f"{prefix}依次加回，先加回{speaks.zh}者"),
         Text(f"share of {many.en} brought back", f"加回的{many.zh}占比")),
    ):  # fmt: skip
        if len(curve.at) < 2:
            continue
        plots.append(
            figure(
                look.band, curve.at, curve.points, curve.low, curve.high, title=title, x_label=x_label,
                y_label=y_label,
                caption=caption if curve is row.deletion else "",
            )
        )  # fmt: skip
    return "".join(plots)


def _counterfactual_html(report: CounterfactualReport | None, column: str | None) -> str:
    """The fewest changes that give another answer, in words."""
    if report is None:
        return ""
    if report.tokens is not None:
        return _minimal_evidence_html(report, report.tokens)
    after, before = (look.name_class(label, column) for label in (report.to_class, report.from_class))
    changes = [(numbers.clip(name), _value_text(old), _value_text(new)) for name, (old, new) in report.changes.items()]
    lead = Text(
        f"It would be {after} instead of {before} with "
        + ("this change:" if len(changes) == 1 else f"these {len(changes)} changes, none of which can be left out:"),
        f"若作如下 {len(changes)} 处改变（缺一不可），结果将由 {before} 变为 {after}：",
    )
    lines: list[Words | Html] = [
        Text(f"{name}: {old.en} → {new.en}", f"{name}：{old.zh} → {new.zh}") for name, old, new in changes
    ]
    notes = "".join(
        look.paragraph(look.verdict("warn", words) if is_doubt else words, note=True)
        for words, is_doubt in coherence_notes(report)
    )
    return look.paragraph(lead) + look.bullet_list(lines) + notes


def _minimal_evidence_html(report: CounterfactualReport, tokens: Sequence[RemovedToken]) -> str:
    """The fewest tokens without which there is another answer."""
    num = len(tokens)
    lead = Text(
        f"It would be {report.to_class} instead of {report.from_class} "
        + ("without this token:" if num == 1 else f"without these {num} tokens, each of which is needed:"),
        f"若去掉下列 {num} 个词元（缺一不可），结果将由 {report.from_class} 变为 {report.to_class}：",
    )
    shown = ", ".join(f"“{token.text}”" for token in tokens[:MAX_COUNTERFACTUAL_TOKENS])
    more = f", … ({num - MAX_COUNTERFACTUAL_TOKENS})" if num > MAX_COUNTERFACTUAL_TOKENS else ""
    return look.paragraph(lead) + look.bullet_list([shown + more])


def _value_text(value: Any) -> Text:
    shown = numbers.clip(numbers.format_value(value), 60)
    return Text("missing", "缺失") if value is None else Text(shown, shown)


def _nearest_table(nearest: Sequence[NearestRow] | None) -> str:
    if not nearest:
        return ""
    columns = [
        Column(Text("Nearest training rows", "最相近的训练行"), "text"),
        Column(Text("Distance, 0 to 1", "距离（0 至 1）")),
        Column(Text("What it was", "当时的结果"), "text"),
    ]
    rows: list[list[Cell]] = [
        [Text(f"row {near.row}", f"第 {near.row} 行"), near.distance, numbers.format_value(near.answer)]
        for near in nearest
    ]
    return look.table(columns, rows, data=nearest)
