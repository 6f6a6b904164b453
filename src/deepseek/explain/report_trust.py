"""The trust panel of a page: what was measured, and of each measure one sentence that needs no mathematics.

trust_sections(trust)      of column_trust.column_trust(); also where nothing was measured: then why, and what to do
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from deepseek import look
from deepseek.look import Column, Html, Section, Text, Words, figure, numbers

MAX_DRAWN = 10  # rows with their curves
#: Up to where a measure is called good. Nobody has proven such limits; the figures stand beside the verdicts.
INFIDELITY, SENSITIVITY, AGREEMENT, SIMILARITY = 0.5, 0.5, 0.5, 0.5
_TITLE = Text("How far to trust it", "可信程度")


def trust_sections(trust: Mapping[str, Any] | None) -> list[Section]:
    """One section; none where nobody spoke of trust."""
    if not trust:
        return []
    rows = trust["rows"]
    if not rows:
        body = look.empty(
            Text("It was not measured how far these explanations can be trusted.", "尚未测量这些解释的可信程度。"),
            Text(f"Why: {trust['why']}.", f"原因：{trust['why']}。"),
            Text("Add --trust to the command to measure it all the same.", "在命令中加上 --trust 即可测量。"),
        )
        return [Section(_TITLE, body, id="trust")]
    verdicts = [*_curves(rows), *_single(rows, trust), *_randomised(trust["randomised"])]
    parts: list[Html] = [look.listing(verdicts, plain=True), look.paragraph(_measured(trust), note=True)]
    parts += [look.paragraph(look.state("warn", str(note)), note=True) for note in trust["notes"]]
    for place, row in enumerate(rows[:MAX_DRAWN]):
        parts.append(_row(row, is_open=place == 0))
    if len(rows) > MAX_DRAWN:
        more = Text(f"{len(rows) - MAX_DRAWN} more rows are in the JSON.", f"其余 {len(rows) - MAX_DRAWN} 行见 JSON。")
        parts.append(look.paragraph(more, note=True))
    return [Section(_TITLE, Html("".join(parts)), id="trust")]


def _measured(trust: Mapping[str, Any]) -> Text:
    count, took = numbers.count(trust["num_evaluations"]), numbers.duration(trust["seconds"])
    return Text(
        f"A column is taken away by giving it the values of {trust['num_others']} others ({trust['others_of']}). "
        f"{count} answers of the model in {took}, seed {trust['seed']}.",
        f"去掉某列，即代之以另外 {trust['num_others']} 行的取值。共计算模型 {count} 次，用时 {took}，"
        f"随机种子 {trust['seed']}。",
    )


def _verdict(is_good: bool, words: Text) -> Html:
    return look.state("good" if is_good else "warn", words)


def _curves(rows: Sequence[Mapping[str, Any]]) -> list[Html]:
    found = []
    for name, en, zh in (
        ("deletion", "Taking columns away, the ones named as strongest first, lowers the answer faster than chance",
         "按解释的重要性依次去掉各列，结果下降得比随机顺序更快"),
        ("insertion", "Bringing columns back, the ones named as strongest first, raises the answer faster than chance",
         "按解释的重要性依次加回各列，结果上升得比随机顺序更快"),
    ):  # fmt: skip
        passed = sum(bool(row[name]["passes"]) for row in rows)
        words = Text(
            f"{en} in {passed} of {len(rows)} rows: beyond 95 % of random orders.",
            f"{zh}：{len(rows)} 行中有 {passed} 行优于 95 % 的随机顺序。",
        )
        found.append(_verdict(2 * passed > len(rows), words))
    return found


def _known(rows: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    return [row[name] for row in rows if row[name] is not None and math.isfinite(row[name])]


def _single(rows: Sequence[Mapping[str, Any]], trust: Mapping[str, Any]) -> list[Html]:
    found = []
    wrong = _known(rows, "infidelity")
    if wrong:
        middle, words = median(wrong), numbers.number(100 * median(wrong))
        found.append(_verdict(middle <= INFIDELITY, Text(
            f"What columns are said to add is what the answer loses without them, but for {words} % of the loss "
            "(infidelity, squared; 0 is perfect).",
            f"各列的贡献与去掉它们后结果的实际损失相符，偏差为损失的 {words} %（不忠实度，平方值；0 为完美）。",
        )))  # fmt: skip
    moved = _known(rows, "sensitivity")
    if moved:
        words = numbers.number(100 * max(moved))
        found.append(_verdict(max(moved) <= SENSITIVITY, Text(
            f"Rows that hardly differ get explanations that hardly differ: by {words} % at most (maximum sensitivity).",
            f"几乎相同的行得到几乎相同的解释：最多相差 {words} %（最大敏感度）。",
        )))  # fmt: skip
    agreed = [row["agreement"] for row in rows if row["agreement"] is not None]
    if agreed:
        rank = median(one["rank_correlation"] for one in agreed)
        shared = numbers.number(100 * sum(one["shared_of_5"] for one in agreed) / len(agreed))
        found.append(_verdict(rank >= AGREEMENT, Text(
            f"A second method ({trust['second']}) orders the columns alike: rank correlation {numbers.number(rank)} "
            f"(1 is the same order), {shared} % of the five strongest are the same.",
            f"另一种方法（{trust['second']}）给出相近的顺序：秩相关 {numbers.number(rank)}（1 为完全一致），"
            f"最强五列中 {shared} % 相同。",
        )))  # fmt: skip
    return found


def _randomised(lines: Sequence[Mapping[str, Any]]) -> list[Html]:
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


def _row(row: Mapping[str, Any], *, is_open: bool) -> Html:
    name = str(row["row_id"])
    title = look.join(Text(f"Row {name}", f"第 {name} 行"), f": {row['prediction']}" if row.get("prediction") else "")
    data = {key: value for key, value in row.items() if key not in {"row_id", "prediction"}}
    body = "".join([_other(row["counterfactual"]), _nearest(row["nearest"]), _drawn(row), look.as_json(data)])
    if is_open:
        return Html(f"<h3>{look.inline(title)}</h3>{body}")
    return Html(f"<details><summary>{look.inline(title)}</summary>{body}</details>")


def _drawn(row: Mapping[str, Any]) -> str:
    caption = Text(
        "The line takes columns in the order of the explanation; 95 % of random orders lie in the band.",
        "曲线按解释的顺序处理各列；95 % 的随机顺序落在阴影带内。",
    )
    found = []
    for name, title, x_label in (
        ("deletion", Text("Taken away, the strongest first", "由强到弱依次去掉"),
         Text("share of columns taken away", "去掉的列占比")),
        ("insertion", Text("Brought back, the strongest first", "由强到弱依次加回"),
         Text("share of columns brought back", "加回的列占比")),
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


def _other(found: Mapping[str, Any] | None) -> str:
    """The least that gives another answer, in words."""
    if not found:
        return ""
    changes = [(numbers.clip(name), _value(old), _value(new)) for name, (old, new) in found["changes"].items()]
    lead = Text(
        f"It would be {found['to']} instead of {found['from']} with "
        + ("this change:" if len(changes) == 1 else f"these {len(changes)} changes, each of which is needed:"),
        f"若作如下 {len(changes)} 处改变（缺一不可），结果将由 {found['from']} 变为 {found['to']}：",
    )
    lines: list[Words | Html] = [
        Text(f"{name}: {old.en} → {new.en}", f"{name}：{old.zh} → {new.zh}") for name, old, new in changes
    ]
    return look.paragraph(lead) + look.listing(lines)


def _value(value: Any) -> Text:
    shown = numbers.clip(numbers.plain(value), 60)
    return Text("missing", "缺失") if value is None else Text(shown, shown)


def _nearest(found: Sequence[Mapping[str, Any]] | None) -> str:
    if not found:
        return ""
    columns = [
        Column(Text("Nearest training rows", "最相近的训练行"), "text"),
        Column(Text("Distance, 0 to 1", "距离（0 至 1）")),
        Column(Text("What it was", "当时的结果"), "text"),
    ]
    rows = [
        [Text(f"row {one['row']}", f"第 {one['row']} 行"), one["distance"], numbers.plain(one["answer"])]
        for one in found
    ]
    return look.table(columns, rows, data=found)
