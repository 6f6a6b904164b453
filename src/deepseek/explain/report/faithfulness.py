"""The trust panel of a page: what was measured, and of each measure one sentence that needs no mathematics.

faithfulness_sections(trust)      of column_faithfulness(), text_faithfulness() or sample_faithfulness(); also where
nothing was measured: then why
                           and what to do
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from deepseek import look
from deepseek.explain.evaluation.masking_faithfulness import FEW_PLAYERS
from deepseek.look import Column, Html, Section, Text, Words, figure, numbers

MAX_CURVE_ROWS = 10  # rows with their curves
MAX_COUNTERFACTUAL_TOKENS = 30  # of a counterfactual
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


def faithfulness_sections(trust: Mapping[str, Any] | None) -> list[Section]:
    """One section; none where nobody spoke of trust."""
    if not trust:
        return []
    rows = trust["rows"]
    if not rows:
        body = look.empty_state(
            Text("It was not measured how far these explanations can be trusted.", "尚未测量这些解释的可信程度。"),
            Text(f"Why: {trust['why']}.", f"原因：{trust['why']}。"),
            Text("Add --trust to the command to measure it all the same.", "在命令中加上 --trust 即可测量。")
            if trust["expected_s"]
            else "",
        )
        return [Section(_TITLE, body, id="trust")]
    unit = trust.get("unit", "columns")
    verdicts = [
        *_curve_verdicts(rows, unit),
        *_measure_verdicts(rows, trust["second"], unit),
        *_part_verdicts(rows, trust),
    ]
    verdicts += _randomization_verdicts(trust["randomised"])
    parts: list[Html] = [look.bullet_list(verdicts, plain=True), look.paragraph(_cost_text(trust), note=True)]
    parts += [look.paragraph(look.verdict("warn", str(note)), note=True) for note in trust["notes"]]
    for place, row in enumerate(rows[:MAX_CURVE_ROWS]):
        parts.append(_row_html(row, unit, is_open=place == 0))
    if len(rows) > MAX_CURVE_ROWS:
        more = Text(
            f"{len(rows) - MAX_CURVE_ROWS} more rows are in the JSON.", f"其余 {len(rows) - MAX_CURVE_ROWS} 行见 JSON。"
        )
        parts.append(look.paragraph(more, note=True))
    return [Section(_TITLE, Html("".join(parts)), id="trust")]


def _cost_text(trust: Mapping[str, Any]) -> Text:
    count, took = numbers.count(trust["num_evaluations"]), numbers.duration(trust["seconds"])
    one, _ = _UNITS[trust.get("unit", "columns")]
    num, of = trust["num_others"], trust["others_of"]
    way = _REMOVAL_TEXTS.get(
        trust.get("taken_away", ""),
        Text(f"by giving it the values of {num} others ({of})", f"代之以另外 {num} 行的取值"),
    )
    return Text(
        f"{one.en} is taken away {way.en}. {count} answers of the model in {took}, seed {trust['seed']}.",
        f"去掉{one.zh}，即{way.zh}。共计算模型 {count} 次，用时 {took}，随机种子 {trust['seed']}。",
    )


def _verdict(is_good: bool, words: Text) -> Html:
    return look.verdict("good" if is_good else "warn", words)


def _curve_verdicts(rows: Sequence[Mapping[str, Any]], unit: str, of: Text | None = None) -> list[Html]:
    """`of`: whose parts they are."""
    found = []
    many, of = _UNITS[unit][1], of or Text("", "")
    told = [row for row in rows if row.get("num_players", FEW_PLAYERS + 1) > FEW_PLAYERS]
    if not told:
        words = Text(
            f"{of.en}Of {FEW_PLAYERS} {many.en} or fewer there are so few orders that no order can be told from chance.",
            f"{of.zh}{many.zh}不超过 {FEW_PLAYERS} 个时，顺序太少，无法与随机顺序区分。",
        )
        return [look.inline(words)]
    for name, en, zh in (
        ("deletion", f"Taking {many.en} away, the ones named as strongest first, lowers the answer faster than chance",
         f"按解释的重要性依次去掉各{many.zh}，结果下降得比随机顺序更快"),
        ("insertion",
         f"Bringing {many.en} back, the ones named as strongest first, raises the answer faster than chance",
         f"按解释的重要性依次加回各{many.zh}，结果上升得比随机顺序更快"),
    ):  # fmt: skip
        passed = sum(bool(row[name]["passes"]) for row in told)
        words = Text(
            f"{of.en}{en} in {passed} of {len(told)} rows: beyond 95 % of random orders.",
            f"{of.zh}{zh}：{len(told)} 行中有 {passed} 行优于 95 % 的随机顺序。",
        )
        found.append(_verdict(2 * passed > len(told), words))
    return found


def _part_verdicts(rows: Sequence[Mapping[str, Any]], trust: Mapping[str, Any]) -> list[Html]:
    """Of each column whose parts were explained, too."""
    every = [part for row in rows for part in row.get("parts", ())]
    found = []
    for column in dict.fromkeys(part["column"] for part in every):
        some = [part for part in every if part["column"] == column]
        name = numbers.clip(column)
        of, unit = Text(f"{name}: ", f"{name}："), some[0]["unit"]
        found += _curve_verdicts(some, unit, of) + _measure_verdicts(some, trust["parts_second"], unit, of)
    return found


def _finite_values(rows: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    return [row[name] for row in rows if row[name] is not None and math.isfinite(row[name])]


def _measure_verdicts(rows: Sequence[Mapping[str, Any]], second: str, unit: str, of: Text | None = None) -> list[Html]:
    found = []
    many, of = _UNITS[unit][1], of or Text("", "")
    wrong = _finite_values(rows, "infidelity")
    if wrong:
        middle, words = median(wrong), numbers.number(100 * median(wrong))
        found.append(_verdict(middle <= INFIDELITY, Text(
            f"{of.en}What {many.en} are said to add is what the answer loses without them, but for {words} % of the "
            "loss (infidelity, squared; 0 is perfect).",
            f"{of.zh}各{many.zh}的贡献与去掉它们后结果的实际损失相符，偏差为损失的 {words} %"
            "（不忠实度，平方值；0 为完美）。",
        )))  # fmt: skip
    moved = _finite_values(rows, "sensitivity")
    if moved:
        words = numbers.number(100 * max(moved))
        found.append(_verdict(max(moved) <= SENSITIVITY, Text(
            f"{of.en}Rows that hardly differ get explanations that hardly differ: by {words} % at most (maximum "
            "sensitivity).",
            f"{of.zh}几乎相同的行得到几乎相同的解释：最多相差 {words} %（最大敏感度）。",
        )))  # fmt: skip
    agreed = [row["agreement"] for row in rows if row["agreement"] is not None]
    if agreed:
        rank = median(one["rank_correlation"] for one in agreed)
        shared = numbers.number(100 * sum(one["shared_of_5"] for one in agreed) / len(agreed))
        found.append(_verdict(rank >= AGREEMENT, Text(
            f"{of.en}A second method ({second}) orders the {many.en} alike: rank correlation {numbers.number(rank)} "
            f"(1 is the same order), {shared} % of the five strongest are the same.",
            f"{of.zh}另一种方法（{second}）给出相近的顺序：秩相关 {numbers.number(rank)}（1 为完全一致），"
            f"最强的五个{many.zh}中 {shared} % 相同。",
        )))  # fmt: skip
    return found


def _randomization_verdicts(lines: Sequence[Mapping[str, Any]]) -> list[Html]:
    if not lines:
        return []
    last = lines[-1]["similarity"]
    steps = ", ".join(f"{line['layer']} {numbers.number(line['similarity'])}" for line in lines)
    return [_verdict(last <= SIMILARITY, Text(
        "When all that the model has learned is shuffled, the explanation changes with it: likeness to the true one "
        f"{numbers.number(last)} (1 would mean that it does not depend on the model). One after the other: {steps}.",
        f"打乱模型学到的内容后，解释也随之改变：与原解释的相似度为 {numbers.number(last)}"
        f"（1 表示解释与模型无关）。依次：{steps}。",
    ))]  # fmt: skip


def _row_html(row: Mapping[str, Any], unit: str, *, is_open: bool) -> Html:
    name = str(row["row_id"])
    title = look.join(Text(f"Row {name}", f"第 {name} 行"), f": {row['prediction']}" if row.get("prediction") else "")
    data = {key: value for key, value in row.items() if key not in {"row_id", "prediction"}}
    drawn = [_curve_plots(row, unit)] + [
        _curve_plots(part, part["unit"], part["column"]) for part in row.get("parts", ())
    ]
    body = "".join(
        [_counterfactual_html(row["counterfactual"]), _nearest_table(row["nearest"]), *drawn, look.as_json(data)]
    )
    if is_open:
        return Html(f"<h3>{look.inline(title)}</h3>{body}")
    return Html(f"<details><summary>{look.inline(title)}</summary>{body}</details>")


def _curve_plots(row: Mapping[str, Any], unit: str, column: str = "") -> str:
    many, of = _UNITS[unit][1], f"{numbers.clip(column)}: " if column else ""
    caption = Text(
        f"The line takes {many.en} in the order of the explanation; 95 % of random orders lie in the band.",
        f"曲线按解释的顺序处理各{many.zh}；95 % 的随机顺序落在阴影带内。",
    )
    found = []
    for name, title, x_label in (
        ("deletion", Text(f"{of}Taken away, the strongest first", f"{of}由强到弱依次去掉"),
         Text(f"share of {many.en} taken away", f"去掉的{many.zh}占比")),
        ("insertion", Text(f"{of}Brought back, the strongest first", f"{of}由强到弱依次加回"),
         Text(f"share of {many.en} brought back", f"加回的{many.zh}占比")),
    ):  # fmt: skip
        one = row[name]
        if len(one["at"]) < 2:
            continue
        found.append(
            figure(
                look.band, one["at"], one["points"], one["low"], one["high"], title=title, x_label=x_label,
                y_label=Text("the answer, on the scale of the model", "结果（模型尺度）"),
                caption=caption if name == "deletion" else "",
            )
        )  # fmt: skip
    return "".join(found)


def _counterfactual_html(found: Mapping[str, Any] | None) -> str:
    """The least that gives another answer, in words."""
    if not found:
        return ""
    if "tokens" in found:
        return _minimal_evidence_html(found)
    changes = [
        (numbers.clip(name), _value_text(old), _value_text(new)) for name, (old, new) in found["changes"].items()
    ]
    lead = Text(
        f"It would be {found['to']} instead of {found['from']} with "
        + ("this change:" if len(changes) == 1 else f"these {len(changes)} changes, each of which is needed:"),
        f"若作如下 {len(changes)} 处改变（缺一不可），结果将由 {found['from']} 变为 {found['to']}：",
    )
    lines: list[Words | Html] = [
        Text(f"{name}: {old.en} → {new.en}", f"{name}：{old.zh} → {new.zh}") for name, old, new in changes
    ]
    return look.paragraph(lead) + look.bullet_list(lines)


def _minimal_evidence_html(found: Mapping[str, Any]) -> str:
    """The least text without which there is another answer."""
    num = len(found["tokens"])
    lead = Text(
        f"It would be {found['to']} instead of {found['from']} "
        + ("without this token:" if num == 1 else f"without these {num} tokens, each of which is needed:"),
        f"若去掉下列 {num} 个词元（缺一不可），结果将由 {found['from']} 变为 {found['to']}：",
    )
    shown = ", ".join(f"“{token['text']}”" for token in found["tokens"][:MAX_COUNTERFACTUAL_TOKENS])
    more = f", … ({num - MAX_COUNTERFACTUAL_TOKENS})" if num > MAX_COUNTERFACTUAL_TOKENS else ""
    return look.paragraph(lead) + look.bullet_list([shown + more])


def _value_text(value: Any) -> Text:
    shown = numbers.clip(numbers.format_value(value), 60)
    return Text("missing", "缺失") if value is None else Text(shown, shown)


def _nearest_table(found: Sequence[Mapping[str, Any]] | None) -> str:
    if not found:
        return ""
    columns = [
        Column(Text("Nearest training rows", "最相近的训练行"), "text"),
        Column(Text("Distance, 0 to 1", "距离（0 至 1）")),
        Column(Text("What it was", "当时的结果"), "text"),
    ]
    rows = [
        [Text(f"row {one['row']}", f"第 {one['row']} 行"), one["distance"], numbers.format_value(one["answer"])]
        for one in found
    ]
    return look.table(columns, rows, data=found)
