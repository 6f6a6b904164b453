"""A comparison in words and tables: for the terminal, and the sentences that the page and `ship` share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from deepseek.automl.comparison.records import (
    Agreement,
    Comparison,
    Difference,
    GroupDifference,
    ModelComparison,
    RowAnswer,
)
from deepseek.contracts import Figure
from deepseek.look import numbers
from deepseek.look.figures import VERDICTS, group_title, metric_title
from deepseek.look.summary import fact_table, make_table
from deepseek.look.words import Text, Words

if TYPE_CHECKING:
    from rich.table import Table

MAX_PREDICTION = 40  # characters of an answer or a truth in a table


def format_figure(figure: Figure | None) -> str:
    """A figure with its interval; a dash for none."""
    return numbers.UNKNOWN if figure is None else numbers.figure(figure.value, figure.low, figure.high)


def format_difference(difference: Difference | None) -> str:
    """A difference with its sign and its interval; a dash for none."""
    if difference is None:
        return numbers.UNKNOWN
    text = numbers.figure(difference.value, difference.low, difference.high)
    return f"+{text}" if difference.value > 0 else text


def headline(result: Comparison, comparison: ModelComparison) -> Text:
    """Which model is better, in one sentence."""
    ours, theirs, difference = comparison.model, result.reference.name, comparison.differences[result.metric]
    if difference.verdict == "identical":
        same = bool(result.reference.digest) and result.reference.digest == next(
            model.digest for model in result.models if model.name == ours
        )
        rows = numbers.count(result.num_rows)
        why, why_zh = (
            ("they are the same model, with one digest", "二者是同一个模型，摘要相同")
            if same
            else (f"both answer each of the {rows} rows exactly alike", f"二者对全部 {rows} 行的回答完全相同")
        )
        return Text(
            f"{ours} is as good as {theirs}: {why}, and every difference is exactly 0",
            f"{ours} 与 {theirs} 一样好：{why_zh}，所有差异恰为 0",
        )
    verb, verb_zh = {
        "better": ("is better than", "优于"),
        "worse": ("is worse than", "劣于"),
        "noise": ("differs from", "与"),
        "unknown": ("cannot be told from", "与"),
    }[difference.verdict]
    tail, tail_zh = {
        "better": (", more than noise", "，超出噪声"),
        "worse": (", more than noise", "，超出噪声"),
        "noise": (" by no more than noise", " 之差不超出噪声"),
        "unknown": (" on so few rows", "：行数过少，无法区分"),
    }[difference.verdict]
    title = metric_title(result.metric)
    name = title.en if title.en.isupper() or title.en == "R²" else title.en[0].lower() + title.en[1:]
    rows, better = numbers.count(result.num_rows), "higher" if result.higher_is_better else "lower"
    better_zh = "越高越好" if result.higher_is_better else "越低越好"
    change, caveat = format_difference(difference), _exposure_words(result, (theirs, ours))
    return Text(
        f"{ours} {verb} {theirs}{tail}: {name} {change} on {rows} rows ({better} is better){caveat.en}",
        f"{ours} {verb_zh} {theirs}{tail_zh}：{title.zh}相差 {change}，共 {rows} 行（{better_zh}）{caveat.zh}",
    )


def _exposure_words(result: Comparison, names: Sequence[str]) -> Text:
    """Which of two models have learned from the rows, or may have: what follows the sentence."""
    en, zh = "", ""
    for exposure, verb, verb_zh in (("some", "has", "已经"), ("maybe", "may have", "可能已")):
        exposed = [name for name in names if result.learned_from.get(name) == exposure]
        if exposed:
            have = "have" if len(exposed) > 1 else verb
            en += f", but {' and '.join(exposed)} {have if exposure == 'some' else verb} learned from some of them"
            zh += f"，但{'、'.join(exposed)} {verb_zh}从其中一些行学习过"
    return Text(en, zh)


def agreement_words(result: Comparison, comparison: ModelComparison) -> Text:
    """How often the two disagree and who is right then, in one sentence."""
    agreement, ours, theirs = comparison.agreement, comparison.model, result.reference.name
    num = numbers.count(agreement.num_differ)
    if result.task == "regression":
        return Text(
            f"{num} of {numbers.count(result.num_rows)} rows have another value; {ours} is nearer to the truth on "
            f"{numbers.count(agreement.only_model)}, {theirs} on {numbers.count(agreement.only_reference)}",
            f"{numbers.count(result.num_rows)} 行中 {num} 行的取值不同；{ours} 在 "
            f"{numbers.count(agreement.only_model)} 行上更接近真实值，{theirs} 在 "
            f"{numbers.count(agreement.only_reference)} 行上更接近",
        )
    test, test_zh = _test_words(agreement)
    return Text(
        f"{num} of {numbers.count(result.num_rows)} rows are decided differently: {ours} alone is right on "
        f"{numbers.count(agreement.only_model)}, {theirs} alone on {numbers.count(agreement.only_reference)}{test}",
        f"{numbers.count(result.num_rows)} 行中 {num} 行判定不同：仅 {ours} 正确 "
        f"{numbers.count(agreement.only_model)} 行，仅 {theirs} 正确 {numbers.count(agreement.only_reference)} "
        f"行{test_zh}",
    )


def _test_words(agreement: Agreement) -> tuple[str, str]:
    """What McNemar's test says, where it applies."""
    if agreement.p_value is None:
        return "", ""
    p_value = numbers.number(agreement.p_value)
    return f" (McNemar's exact test: p = {p_value})", f"（McNemar 精确检验：p = {p_value}）"


def difference_rows(result: Comparison, comparison: ModelComparison) -> tuple[tuple[str, ...], list[list[str]]]:
    """The header and the rows of the table of differences, as text."""
    model = next(model for model in result.models if model.name == comparison.model)
    header = ("", result.reference.name, model.name, "difference", "")
    rows = [
        [
            metric_title(name).en, format_figure(result.reference.metrics[name]), format_figure(model.metrics[name]),
            format_difference(difference), VERDICTS[difference.verdict].en,
        ]
        for name, difference in comparison.differences.items()
    ]  # fmt: skip
    return header, rows


def comparison_parts(result: Comparison) -> list[object]:
    """The lines and tables of the terminal: the answers first, then each model against the reference."""
    parts: list[object] = [headline(result, comparison).en for comparison in result.comparisons]
    if result.group_by is not None:
        parts.append(f"rows of one {result.group_by} are drawn together: {numbers.count(result.num_groups)} groups")
    if result.weights is not None:
        parts.append(f"rows count as {result.weights} says")
    for comparison in result.comparisons:
        parts += ["", _text_table(*difference_rows(result, comparison))]
        parts.append(agreement_words(result, comparison).en)
        for column, groups in comparison.segments.items():
            parts += ["", _segment_table(result, comparison, column, groups)]
        if comparison.rows:
            parts += ["", "rows to look at, the largest disagreement first:", _row_table(result, comparison)]
    if result.undefined:
        names = ", ".join(metric_title(name).en for name in result.undefined)
        parts.append(f"not defined on these rows: {names}")
    return [*parts, "", *_cost_parts(result)]


def _text_table(header: tuple[str, ...], rows: list[list[str]]) -> Table:
    table = make_table(*header)
    for row in rows:
        table.add_row(*row)
    return table


def _segment_table(
    result: Comparison, comparison: ModelComparison, column: str, groups: list[GroupDifference]
) -> Table:
    title = metric_title(result.metric).en
    header = (f"{title} by {column}", "rows", result.reference.name, comparison.model, "difference", "")
    rows = [
        [
            _english(group_title(group.group)), numbers.count(group.num_rows), format_figure(group.reference),
            format_figure(group.model), format_difference(group.difference),
            group.reason if group.difference is None else VERDICTS[group.difference.verdict].en,
        ]
        for group in groups
    ]  # fmt: skip
    return _text_table(header, rows)


def _english(words: Words) -> str:
    return words if isinstance(words, str) else words.en


def _row_table(result: Comparison, comparison: ModelComparison) -> Table:
    header = ("row", result.target, result.reference.name, comparison.model)
    rows = [
        [
            str(row.row),
            format_truth(row.truth),
            _english(answer_words(row.reference)),
            _english(answer_words(row.model)),
        ]
        for row in comparison.rows
    ]
    return _text_table(header, rows)


def format_truth(truth: str | float) -> str:
    """A true class or value."""
    return numbers.clip(truth, MAX_PREDICTION) if isinstance(truth, str) else numbers.number(truth)


def answer_words(answer: RowAnswer) -> Words:
    """An answer, and the probability of the true class."""
    text = format_truth(answer.answer)
    if answer.truth_probability is None:
        return text
    probability = numbers.number(answer.truth_probability)
    return Text(f"{text} (truth {probability})", f"{text}（真实类别 {probability}）")


def _cost_parts(result: Comparison) -> list[object]:
    """Size and speed of each model, where they are known."""
    if all(model.size_bytes is None for model in result.models):
        return []
    sizes = sorted({size for model in result.models for size in model.speed})
    header = ["", "size", *(f"CPU of {numbers.count(size)} {'row' if size == 1 else 'rows'}" for size in sizes)]
    rows = []
    for model in result.models:
        times = [model.speed[size].cpu_ms / 1e3 if size in model.speed else None for size in sizes]
        rows.append([model.name, numbers.size(model.size_bytes), *map(numbers.duration, times)])
    facts = [("digest of " + model.name, model.digest) for model in result.models if model.digest]
    return [_text_table(tuple(header), rows), "", fact_table(facts)]
