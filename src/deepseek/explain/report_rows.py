"""Why single rows came out so: reasons, waterfalls, and texts and pictures under what moved the answer.

    rows_sections(rows)      one section; rows of summary.row_reports(), with "parts" where there are texts or files

A part is {"column", "kind": "text", "tokens": [{"text", "start", "end", "value", "error"}], "sentences": [{"start",
"end", "value"}]} with "text" where the whole is known, or {"column", "kind": "image" or "audio", "regions": [{"box":
[left, top, right, bottom], "value"}]} with "picture" (a data URL) and "size" where they are known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deepseek import look
from deepseek.look import Column, Contribution, Html, Section, Text, Words, figure, numbers, saliency

SCALES = {"log-odds": "对数几率", "probability": "概率", "target units": "目标单位"}
_TITLES = {
    "text": Text("Which words moved it: ", "哪些词影响了结果："),
    "image": Text("Where it looked: ", "图像中哪些区域影响了结果："),
    "audio": Text("Which sounds moved it: ", "哪些声音影响了结果："),
}


def scale_words(report: Mapping[str, Any]) -> Words:
    """What is explained, with its unit: "log-odds of malignant"."""
    scale = report["scale"]
    zh = SCALES.get(scale, scale)
    target = report.get("target")
    return Text(f"{scale} of {target}", f"{target} 的{zh}") if target else Text(scale, zh)


def rows_sections(rows: Sequence[Mapping[str, Any]]) -> list[Section]:
    """Each row's waterfall and reasons; beyond the first they open on demand."""
    if not rows:
        return []
    parts = []
    for index, row in enumerate(rows):
        title = _row_title(row, index)
        body = _row(row)
        if index:
            body = Html(f"<details><summary>{look.inline(title)}</summary>{body}</details>")
        else:
            body = Html(f"<h3>{look.inline(title)}</h3>{body}")
        parts.append(body)
    title = Text("Why this row" if len(rows) == 1 else f"Why these {len(rows)} rows", f"逐行解释（{len(rows)} 行）")
    return [Section(title, Html("".join(parts)), id="rows")]


def _row_title(row: Mapping[str, Any], index: int) -> Words:
    name = str(row.get("row_id", index))
    answer = row.get("prediction")
    return look.join(Text(f"Row {name}", f"第 {name} 行"), f": {answer}" if answer is not None else "")


def _row(row: Mapping[str, Any]) -> Html:
    bars = [
        Contribution(f"{bar['column']} = {numbers.plain(bar['value'])}", bar["contribution"]) for bar in row["bars"]
    ]
    other = row.get("other", {"num_columns": 0, "contribution": 0.0})
    scale = scale_words(row)
    output, base = numbers.number(row["output"]), numbers.number(row["base_value"])
    plot = figure(
        look.waterfall,
        bars,
        base=row["base_value"],
        output=row["output"],
        num_shown=len(bars),
        others=(other["num_columns"], other["contribution"]),
        title=look.join(Text(f"From {base} to {output}, ", f"从 {base} 到 {output}，"), scale),
        label=scale,
        caption=Text(
            f"Read upwards from the base value. Residual {numbers.number(row['residual'])}.",
            f"自下而上，从基准值读到输出。残差 {numbers.number(row['residual'])}。",
        ),
        data={name: value for name, value in row.items() if name != "parts"},
    )
    parts = "".join(_part(part, scale) for part in row.get("parts", ()))
    return Html(_reasons(row) + plot + _pairs(row.get("interactions", ()), scale) + parts)


def _pairs(pairs: Sequence[Mapping[str, Any]], scale: Words) -> Html:
    """The strongest interactions of this row."""
    if not pairs:
        return Html("")
    columns = [Column(Text("Together", "共同作用"), "text"), Column(scale)]
    rows = [[" × ".join(map(numbers.clip, pair["columns"])), numbers.signed(pair["value"])] for pair in pairs]
    caption = Text(
        "What two columns add together, beyond what each adds by itself: in the bars above it is shared evenly.",
        "两列共同带来的、超出各自单独贡献的部分：在上面的条形中由两列平分。",
    )
    return look.table(columns, rows, caption=caption, data=list(pairs))


def _reasons(row: Mapping[str, Any]) -> str:
    """The reason codes as a list, in Chinese too where they were given."""
    english = row.get("reasons", [])
    chinese = row.get("reasons_zh") or english
    lines = (Text(en, zh) for en, zh in zip(english, chinese, strict=True))
    return look.listing(list(lines)) if english else ""


def _part(part: Mapping[str, Any], scale: Words) -> Html:
    """A text or a picture of this row; what came in another form is left to the JSON."""
    title = look.join(_TITLES.get(part["kind"], ""), numbers.clip(part["column"]))
    data = {name: value for name, value in part.items() if name != "picture"}
    if "tokens" in part:
        tokens, text = _placed(part)
        sentences = [(one["start"], one["end"], _finite(one["value"])) for one in part.get("sentences") or ()]
        return look.tokens(text, tokens, sentences, title=title, label=scale, data=data)
    regions = [(one["box"], _finite(one["value"])) for one in part.get("regions") or ()]
    picture, size = part.get("picture", ""), part.get("size") or ()
    return look.heat(regions, title=title, picture=picture, size=size, label=scale, data=data)


def _placed(part: Mapping[str, Any]) -> tuple[list[saliency.Token], str]:
    """The tokens, and the text: as it is given, else made of the tokens, with blanks where they do not meet."""
    tokens = [(one["start"], one["end"], _finite(one["value"]), one.get("error")) for one in part["tokens"]]
    if "text" in part:
        return tokens, part["text"]
    text = ""
    for one in sorted(part["tokens"], key=lambda one: one["start"]):
        text += " " * (one["start"] - len(text))
        text += one["text"][len(text) - one["start"] : one["end"] - one["start"]]
    return tokens, text


def _finite(value: float | None) -> float:
    return float("nan") if value is None else value
