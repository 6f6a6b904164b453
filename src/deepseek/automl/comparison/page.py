"""The page of a comparison: who is better, the differences, where they lie, rows to look at, size and speed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deepseek import look
from deepseek.automl.comparison.records import (
    Comparison,
    Difference,
    GroupDifference,
    ModelComparison,
)
from deepseek.automl.comparison.text import (
    agreement_words,
    answer_words,
    format_difference,
    format_truth,
    headline,
)
from deepseek.contracts import Figure
from deepseek.files import atomic_file
from deepseek.look import Column, Html, Section, Text, Words, figure, numbers
from deepseek.look.chinese.page_texts import in_both_languages
from deepseek.look.figures import VERDICTS, group_title, metric_title
from deepseek.look.tables import Cell
from deepseek.version import __version__

MAX_VALUES = 6  # of a row that are shown; the JSON has all

_DIFFERENCE = Text("Difference", "差异")
_VERDICT = Text("Verdict", "结论")
_ROWS = Text("Rows", "行数")
_INTERVAL = Text(
    "95 % intervals of the difference by resampling the same rows for both; exact where few rows are decided "
    "differently. ↑ higher is better, ↓ lower is better",
    "差异的 95 % 区间：对相同的行成对重抽样；判定不同的行很少时采用精确区间。↑ 越高越好，↓ 越低越好",
)


def write_page(path: str | Path | None, result: Comparison, *, data: str, seed: int, command: str = "") -> str:
    """Write the page to `path` (None: only return it). `data`: the digest of the rows; `command` makes it again."""
    lines = [headline(result, comparison) for comparison in result.comparisons]
    names = ", ".join(model.name for model in result.models)
    html = look.page(
        look.join(Text("Comparison", "模型比较"), f": {names}"),
        look.join(*(look.join(line, Text(". ", "。")) for line in lines)),
        [
            *(section for comparison in result.comparisons for section in _comparison_sections(result, comparison)),
            *_cost_sections(result),
            *_warning_sections(result),
        ],
        provenance=_provenance(result, data, seed, command),
        lead=_rows_words(result),
    )
    if path is not None:
        with atomic_file(Path(path)) as part:
            part.write_text(html, encoding="utf-8")
    return html


def difference_table(result: Comparison, comparison: ModelComparison) -> Html:
    """Every metric of both models, their difference and what it means."""
    model = next(model for model in result.models if model.name == comparison.model)
    rows: list[list[Cell]] = [
        [
            _title_with_direction(name, difference), result.reference.metrics[name].value, model.metrics[name].value,
            format_difference(difference), verdict_html(difference),
        ]
        for name, difference in comparison.differences.items()
    ]  # fmt: skip
    columns = [
        Column(Text("Figure", "指标"), "text"), Column(result.reference.name), Column(comparison.model),
        Column(_DIFFERENCE), Column(_VERDICT, "text"),
    ]  # fmt: skip
    return look.table(columns, rows, caption=_INTERVAL, data=comparison.to_dict()["differences"])


def verdict_html(difference: Difference) -> Html:
    """The verdict with its sign, in one line."""
    words = look.inline(VERDICTS[difference.verdict])
    if difference.verdict == "better":
        words = look.verdict("good", words)
    if difference.verdict == "worse":
        words = look.verdict("bad", words)
    return Html(f'<span class="option">{words}</span>')


def _comparison_sections(result: Comparison, comparison: ModelComparison) -> list[Section]:
    against = f"{comparison.model} – {result.reference.name}"
    several = len(result.comparisons) > 1
    place = next(index for index, each in enumerate(result.comparisons) if each is comparison)
    suffix: Words = f": {against}" if several else ""
    anchor = f"-{place + 1}" if several else ""
    sections = [
        Section(
            look.join(Text("How large the difference is", "差异有多大"), suffix),
            Html(difference_table(result, comparison) + _undefined_note(result)),
            id=f"differences{anchor}",
        )
    ]
    if comparison.segments:
        parts = [_segment_html(result, comparison, column, groups) for column, groups in comparison.segments.items()]
        sections.append(
            Section(look.join(Text("By segment", "按分组"), suffix), Html("".join(parts)), id=f"segments{anchor}")
        )
    sections.append(
        Section(
            look.join(Text("Where they disagree", "分歧所在"), suffix), _disagreement_html(result, comparison),
            id=f"disagreement{anchor}",
        )
    )  # fmt: skip
    return sections


def _segment_html(
    result: Comparison, comparison: ModelComparison, column: str, groups: Sequence[GroupDifference]
) -> Html:
    title = metric_title(result.metric)
    known = [(group, group.difference) for group in groups if group.difference is not None]
    plot = Html("")
    if known:
        direction = (
            Text("right of the line the model is better", "线右侧表示模型更好")
            if result.higher_is_better
            else Text("left of the line the model is better", "线左侧表示模型更好")
        )
        plot = figure(
            look.intervals,
            [group_title(group.group) for group, _ in known],
            [(difference.value, difference.low, difference.high) for _, difference in known],
            title=column,
            label=look.join(title, Text(": difference", "：差异")),
            guide=0.0,
            caption=look.join(
                Text("The dashed line is no difference: ", "虚线表示没有差异："), direction, Text(".", "。")
            ),
        )
    heads = [
        Column(column, "text"), Column(_ROWS), Column(Text("Differ", "不同")), Column(result.reference.name),
        Column(comparison.model), Column(_DIFFERENCE), Column(_VERDICT, "text"),
    ]  # fmt: skip
    rows: list[list[Cell]] = [
        [
            group_title(group.group), group.num_rows, group.num_differ, _value(group.reference),
            _value(group.model), format_difference(group.difference),
            in_both_languages(group.reason) if group.difference is None else verdict_html(group.difference),
        ]
        for group in groups
    ]  # fmt: skip
    caption = Text(
        "Verdicts allow for the number of groups: of those beyond noise at most one in twenty is so by chance",
        "结论已考虑分组数量：被判为超出噪声的分组中，至多二十分之一属于偶然",
    )
    return Html(plot + look.table(heads, rows, caption=caption, data=[group.to_dict() for group in groups]))


def _value(measured: Figure | None) -> float | None:
    return None if measured is None else measured.value


def _disagreement_html(result: Comparison, comparison: ModelComparison) -> Html:
    words = look.join(agreement_words(result, comparison), Text(".", "。"))
    body = look.paragraph(words)
    agreement = comparison.agreement
    if agreement.both_right is not None and agreement.both_wrong is not None:
        right, wrong = Text("right", "正确"), Text("wrong", "错误")
        theirs = result.reference.name
        body = Html(
            body
            + look.table(
                [
                    Column("", "text"),
                    Column(look.join(comparison.model, " ", right)),
                    Column(look.join(comparison.model, " ", wrong)),
                ],
                [
                    [look.join(theirs, " ", right), agreement.both_right, agreement.only_reference],
                    [look.join(theirs, " ", wrong), agreement.only_model, agreement.both_wrong],
                ],
                caption=Text("Rows by who decides them right", "按判定是否正确划分的行数"),
            )
        )
    if not comparison.rows:
        return body
    return Html(body + _row_table(result, comparison))


def _row_table(result: Comparison, comparison: ModelComparison) -> Html:
    names = list(comparison.rows[0].record)[:MAX_VALUES]
    heads = [
        Column(Text("Row", "行"), "text"), Column(result.target, "text"), Column(result.reference.name, "text"),
        Column(comparison.model, "text"), *(Column(numbers.clip(name), "text") for name in names),
    ]  # fmt: skip
    rows: list[list[Cell]] = [
        [
            str(row.row), format_truth(row.truth), answer_words(row.reference), answer_words(row.model),
            *(numbers.clip(numbers.format_value(row.record[name])) for name in names),
        ]
        for row in comparison.rows
    ]  # fmt: skip
    caption: Words = Text(
        "Rows to look at, the largest disagreement first; rows count from 0. In brackets the probability of the truth.",
        "值得查看的行，分歧最大者在前；行号从 0 开始。括号内为真实类别的概率。",
    )
    if len(comparison.rows[0].record) > len(names):
        caption = look.join(caption, Text(" The JSON has every column.", "JSON 中有全部列。"))
    return look.table(heads, rows, caption=caption, data=[row.to_dict() for row in comparison.rows])


def _title_with_direction(name: str, difference: Difference) -> Words:
    return look.join(metric_title(name), " ↑" if difference.higher_is_better else " ↓")


def _undefined_note(result: Comparison) -> Html:
    if not result.undefined:
        return Html("")
    en, zh = (
        "; ".join(getattr(metric_title(name), language) for name in result.undefined) for language in ("en", "zh")
    )
    return look.paragraph(Text(f"Not defined on these rows: {en}.", f"在这些行上无定义：{zh}。"), note=True)


def _cost_sections(result: Comparison) -> list[Section]:
    """Size and speed, where they are known."""
    if all(model.size_bytes is None for model in result.models):
        return []
    sizes = sorted({size for model in result.models for size in model.speed})
    heads = [Column(Text("Model", "模型"), "text"), Column(Text("Size", "大小"))]
    heads += [
        Column(Text(f"CPU, {numbers.count(size)} rows" if size > 1 else "CPU, one row", f"CPU，{size} 行"))
        for size in sizes
    ]
    heads += [
        Column(Text(f"Latency, {numbers.count(size)} rows" if size > 1 else "Latency, one row", f"延迟，{size} 行"))
        for size in sizes
    ]
    heads += [Column(Text("Speedup", "加速比"))] * bool(sizes)
    rows: list[list[Cell]] = []
    for model in result.models:
        cells: list[Cell] = [model.name, numbers.size(model.size_bytes)]
        cells += [numbers.duration(model.speed[size].cpu_ms / 1e3) for size in sizes]
        cells += [numbers.duration(model.speed[size].p50_ms / 1e3) for size in sizes]
        if sizes:
            ratio = model.speed[sizes[0]].speedup
            cells.append(numbers.figure(ratio.value, ratio.low, ratio.high, "×"))
        rows.append(cells)
    caption = Text(
        "A call from raw rows to answers, the models in turns; median. The speedup is CPU time of the first over this "
        "one's, one row",
        "从原始行到回答的一次调用，各模型轮流测量，取中位数。加速比为单行时第一个模型的 CPU 时间除以本模型的",
    )
    body = look.table(heads, rows, caption=caption, data=[model.to_dict() for model in result.models])
    return [Section(Text("Size and speed", "大小与速度"), body, id="costs")]


def _warning_sections(result: Comparison) -> list[Section]:
    if not result.warnings:
        return []
    lines = [look.verdict("warn", in_both_languages(warning)) for warning in result.warnings]
    return [Section(Text("Before you rely on it", "使用前须知"), look.bullet_list(lines, plain=True), id="warnings")]


def _rows_words(result: Comparison) -> Words:
    rows = numbers.count(result.num_rows)
    if result.group_by is None:
        return Text(f"On {rows} rows that every model answered.", f"所有模型均回答了这 {rows} 行。")
    groups = numbers.count(result.num_groups)
    return Text(
        f"On {rows} rows that all models answered; rows of one {result.group_by} ({groups} groups) are drawn together.",
        f"所有模型均回答了这 {rows} 行；{result.group_by} 相同的行一起抽取（共 {groups} 组）。",
    )


def _provenance(result: Comparison, data: str, seed: int, command: str) -> dict[Words, Words | Html]:
    facts: dict[Words, Words | Html] = {
        look.join(Text("Digest of ", "摘要："), model.name): model.digest for model in result.models if model.digest
    }
    facts[Text("Digest of the rows", "数据摘要")] = data
    facts[Text("Seed of the resamples", "重抽样种子")] = str(seed)
    facts["deepseek"] = __version__
    if command:
        facts[Text("Made by", "生成命令")] = look.nowrap_options(command)
    return facts
