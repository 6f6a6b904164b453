"""Why single rows came out so: reasons, waterfalls, and texts and pictures under what moved the answer.

    row_sections(rows)      one section; rows of summary.row_reports(), with "parts" where there are texts or files

A part is {"column", "kind": "text", "tokens": [{"text", "start", "end", "value", "error"}], "sentences": [{"start",
"end", "value"}]} with "text" where the whole is known, or {"column", "kind": "image" or "audio", "regions": [{"box":
[left, top, right, bottom], "value"}]} with "picture" (a data URL) and "size" (height, width) where they are known; of a
sound "cells" of seconds and hertz, of a series "stretches" of its channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepseek import look
from deepseek.data.media.mel import hz_to_mel
from deepseek.explain.records import GlobalReport, InteractionPair, PartDocument, RowFlag, RowReport
from deepseek.look import Column, Contribution, Html, Section, Text, Words, figure, numbers, saliency
from deepseek.look.chinese.page_texts import in_both_languages

SCALE_NAMES_ZH = {
    "log-odds": "对数几率",
    "probability": "概率",
    "target units": "目标单位",
    "cosine similarity": "余弦相似度",
}
SPECTROGRAM_MIN_HZ = 20.0  # where the picture of a sound begins
_TITLES = {
    "text": Text("Which words moved it: ", "哪些词影响了结果："),
    "image": Text("Which regions moved it: ", "图像中哪些区域影响了结果："),
    "series": Text("Which stretches moved it: ", "哪些时段影响了结果："),
    "audio": Text("Which sounds moved it: ", "哪些声音影响了结果："),
}
_FLAG_WORDS = {
    "imputed": Text("Missing, so filled in: ", "缺失，已填补："),
    "unseen": Text("A value that training never saw: ", "训练中未见过的取值："),
    "outside": Text("A number outside of the training range: ", "超出训练范围的数值："),
    "far": Text("Far from every training row, mostly by: ", "与所有训练行都相差很远，主要在于："),
}


def scale_label(report: GlobalReport | RowReport) -> Words:
    """What is explained, with its unit: "log-odds of malignant"."""
    zh = SCALE_NAMES_ZH.get(report.scale, report.scale)
    if not report.target:
        return Text(report.scale, zh)
    target = look.name_class(report.target, report.outcome)
    return Text(f"{report.scale} of {target}", f"{target} 的{zh}")


def row_sections(rows: Sequence[RowReport]) -> list[Section]:
    """Each row's waterfall and reasons; beyond the first they open on demand."""
    if not rows:
        return []
    parts = []
    for index, row in enumerate(rows):
        title = _row_title(row, index)
        body = _row_html(row)
        half = "" if row.parts else ' class="half"'  # two of a line on paper; pictures and texts need it all
        if index:
            body = Html(f"<details{half}><summary>{look.inline(title)}</summary>{body}</details>")
        else:
            body = Html(f"<div{half}><h3>{look.inline(title)}</h3>{body}</div>")
        parts.append(body)
    title = Text("Why this row" if len(rows) == 1 else f"Why these {len(rows)} rows", f"逐行解释（{len(rows)} 行）")
    return [Section(title, Html("".join(parts)), id="rows")]


def _row_title(row: RowReport, index: int) -> Words:
    name = str(index if row.row_id is None else row.row_id)
    answer = "" if row.prediction is None else f": {name_answer(row.prediction, row.outcome)}"
    return look.join(Text(f"Row {name}", f"第 {name} 行"), answer)


def name_answer(prediction: str, column: str | None) -> str:
    """A prediction in words ("1 (0.982)") with the class as name_class() has it.

    >>> name_answer("1 (0.982)", "fraud"), name_answer("ham (0.7)", "spam"), name_answer("3.5", "price")
    ('fraud = 1 (0.982)', 'ham (0.7)', '3.5')
    """
    label, blank, rest = prediction.rpartition(" (")
    return f"{look.name_class(label, column)}{blank}{rest}" if blank else prediction


def _row_html(row: RowReport) -> Html:
    """The reasons of a row, its waterfall, its strongest pairs and its texts and pictures."""
    bars = [Contribution(f"{bar.column} = {numbers.format_value(bar.value)}", bar.contribution) for bar in row.bars]
    scale = scale_label(row)
    output, base = numbers.number(row.output), numbers.number(row.base_value)
    plot = figure(
        look.waterfall,
        bars,
        base=row.base_value,
        output=row.output,
        num_shown=len(bars),
        others=(row.other.num_columns, row.other.contribution),
        title=look.join(Text(f"From {base} to {output}, ", f"从 {base} 到 {output}，"), scale),
        label=scale,
        caption=Text(
            f"Read upwards from the base value. Residual {numbers.number(row.residual)}.",
            f"自下而上，从基准值读到输出。残差 {numbers.number(row.residual)}。",
        ),
        data={name: value for name, value in row.items() if name not in {"parts", "values"}},
    )
    parts = "".join(_part_html(part, scale) for part in row.parts or ())
    wrong = Text(
        f"This explanation does not add up: {numbers.signed_number(row.residual)} of the output is left unexplained. "
        "Do not rely on it.",
        f"该行的解释不可依赖：输出中有 {numbers.signed_number(row.residual)} 未被解释。",
    )
    warning = "" if row.adds_up else look.paragraph(look.verdict("bad", wrong))
    return Html(
        warning
        + _flag_notes(row.flags or ())
        + _reasons_list(row)
        + plot
        + _interactions_table(row.interactions or (), scale)
        + parts
    )


def _flag_notes(flags: Sequence[RowFlag]) -> str:
    """What was replaced in this row, and what is beyond training."""
    lines = []
    for what, words in _FLAG_WORDS.items():
        if columns := [numbers.clip(flag.column) for flag in flags if flag.what == what]:
            lines.append(look.paragraph(look.verdict("warn", look.join(words, ", ".join(columns)))))
    return "".join(lines)


def _interactions_table(pairs: Sequence[InteractionPair], scale: Words) -> Html:
    """The strongest interactions of this row."""
    if not pairs:
        return Html("")
    columns = [Column(Text("Together", "共同作用"), "text"), Column(scale)]
    rows = [[" × ".join(map(numbers.clip, pair.columns)), numbers.signed_number(pair.value)] for pair in pairs]
    caption = Text(
        "What two columns add together, beyond what each adds by itself: in the bars above it is shared evenly.",
        "两列共同带来的、超出各自单独贡献的部分：在上面的条形中由两列平分。",
    )
    return look.table(columns, rows, caption=caption, data=pairs)


def _reasons_list(row: RowReport) -> str:
    """The reason codes as a list, in both languages."""
    lines = [Text(en, zh) for en, zh in zip(row.reasons, row.reasons_zh or row.reasons, strict=True)]
    return look.bullet_list(list(lines)) if lines else ""


def _part_html(part: PartDocument, scale: Words) -> Html:
    """A text or a picture of this row, and what a reader must know of it."""
    title = look.join(_TITLES.get(part["kind"], ""), numbers.clip(part["column"]))
    data = {name: value for name, value in part.items() if not name.startswith("picture")}
    if "tokens" in part:
        tokens, text = _positioned_tokens(part)
        sentences = [(one["start"], one["end"], _nan_if_none(one["value"])) for one in part.get("sentences") or ()]
        drawn = look.text_saliency(text, tokens, sentences, title=title, label=scale, data=data)
    else:
        regions, size, names = _heat_regions(part)
        picture = part.get("picture", "")
        shape = tuple(reversed(part.get("picture_size", [])))
        drawn = look.image_saliency(
            regions, title=title, picture=picture, size=size, picture_size=shape, names=names, label=scale, data=data
        )
    notes = part.get("notes") or ()
    return Html(
        drawn + "".join(look.paragraph(look.verdict("warn", in_both_languages(str(note))), note=True) for note in notes)
    )


def _heat_regions(part: PartDocument) -> tuple[list[saliency.Region], tuple[float, ...], list[Words]]:
    """Boxes, (width, height) that they are counted in, and their names where these say more than their places."""
    if "cells" in part:
        return _spectrogram_cells(part)
    if "stretches" in part:
        return _series_stretches(part)
    size = tuple(reversed(part["size"])) if part.get("size") else ()
    return [(one["box"], _nan_if_none(one["value"])) for one in part.get("regions") or ()], size, []


def _spectrogram_cells(part: PartDocument) -> tuple[list[saliency.Region], tuple[float, ...], list[Words]]:
    """Regions of a sound, as on its spectrogram: seconds to the right, mel upwards."""
    highest = max((one["hertz"][1] for one in part["cells"]), default=1.0)
    low, high = (float(hz_to_mel(np.array(end))) for end in (SPECTROGRAM_MIN_HZ, highest))
    height = part["seconds"] / 4
    regions: list[saliency.Region] = []
    names: list[Words] = []
    for one in part["cells"]:
        ends = [(high - float(hz_to_mel(np.array(end)))) / (high - low) for end in reversed(one["hertz"])]
        top, bottom = (height * min(1.0, max(0.0, end)) for end in ends)
        regions.append(((one["seconds"][0], top, one["seconds"][1], bottom), _nan_if_none(one["value"])))
        names.append("{:.3g}–{:.3g} s, {:.0f}–{:.0f} Hz".format(*one["seconds"], *one["hertz"]))
    return regions, (part["seconds"], height), names


def _series_stretches(part: PartDocument) -> tuple[list[saliency.Region], tuple[float, ...], list[Words]]:
    """Regions of a series: moments to the right, a line for each channel."""
    channels = list(dict.fromkeys(name for one in part["stretches"] for name in one["channels"]))
    height = part["length"] / 4
    regions: list[saliency.Region] = []
    names: list[Words] = []
    for one in part["stretches"]:
        lines = [channels.index(name) for name in one["channels"]]
        top, bottom = (height * line / len(channels) for line in (min(lines), max(lines) + 1))
        regions.append(((one["start"], top, one["end"], bottom), _nan_if_none(one["value"])))
        names.append(f"{numbers.clip(', '.join(one['channels']))} {one['start']}–{one['end']}")
    return regions, (part["length"], height), names


def _positioned_tokens(part: PartDocument) -> tuple[list[saliency.Token], str]:
    """The tokens, and the text: as it is given, else made of the tokens, with blanks where they do not meet."""
    tokens = [(one["start"], one["end"], _nan_if_none(one["value"]), one.get("error")) for one in part["tokens"]]
    if "text" in part:
        return tokens, part["text"]
    text = ""
    for one in sorted(part["tokens"], key=lambda one: one["start"]):
        text += " " * (one["start"] - len(text))
        text += one["text"][len(text) - one["start"] : one["end"] - one["start"]]
    return tokens, text


def _nan_if_none(value: float | None) -> float:
    return float("nan") if value is None else value
