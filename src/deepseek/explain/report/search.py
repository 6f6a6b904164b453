"""How the model was chosen: the leaderboard of the search, and the comparison with the model before it."""

from __future__ import annotations

from deepseek import look
from deepseek.bundle.leaderboard import LeaderboardEntry, parse_leaderboard
from deepseek.contracts import JsonObject
from deepseek.explain.report.evidence_documents import SearchEvidence
from deepseek.look import Column, Html, Section, Text, Words, figure, numbers
from deepseek.look.chinese.page_texts import in_both_languages
from deepseek.look.figures import METRICS, VERDICTS, metric_title
from deepseek.look.tables import Cell


def search_section(search: SearchEvidence) -> Section:
    """Every trial's loss, the best so far and the baseline; then the leaderboard."""
    trials = search["trials"]
    rival = search.get("yardstick", {})
    plot = figure(
        look.trace,
        [trial["loss"] for trial in trials],
        title=Text("Loss of each trial", "各次试验的损失"),
        x_label=Text("trial", "试验"),
        y_label=Text("loss on the validation rows", "验证集损失"),
        rival=rival.get("held_loss"),
        rival_name=in_both_languages(str(rival.get("family", ""))),
    )
    return Section(
        Text(f"The search: {len(trials)} trials", f"搜索过程：{len(trials)} 次试验"),
        Html(plot + _leaderboard_html(search)),
        folded=True,
        id="search",
    )


def _leaderboard_html(search: SearchEvidence) -> Html:
    """Trials by their figure on held-out rows, each beside the model that was packed."""
    board = parse_leaderboard({**search})
    title: Words = Text("Loss", "损失") if board.metric == "loss" else metric_title(board.metric)
    heads = [
        Column(Text("Rank", "名次"), "text"), Column(Text("Trial", "试验")), Column(Text("Model", "模型"), "text"),
        Column(Text("Share", "占比")), Column(look.join(title, " ↑" if board.higher_is_better else " ↓")),
        Column(Text("To the model", "与模型之差"), "text"), Column(Text("CPU time", "CPU 时间")),
    ]  # fmt: skip
    rows: list[list[Cell]] = [
        [
            str(entry.rank), "" if entry.trial is None else str(entry.trial + 1), in_both_languages(entry.family),
            entry.weight or "", _format_figure(entry, board.metric), _difference_words(entry),
            "" if entry.fit_cpu_s is None else numbers.duration(entry.fit_cpu_s),
        ]
        for entry in board.entries
    ]  # fmt: skip
    caption: Words = ""
    if board.num_rows is not None:
        held = numbers.count(board.num_rows)
        caption = Text(
            f"On {held} held-out rows, which no trial was fitted on; 95 % intervals of the best. Share: of the model. "
            "The best of many trials is partly best by chance.",
            f"在 {held} 行留出数据上，任何试验都未用其拟合；前几名给出 95 % 区间。占比指在模型中的权重。"
            "众多试验中的最优者有一部分是偶然。",
        )
    return look.table(heads, rows, caption=caption, data=search)


def _format_figure(entry: LeaderboardEntry, metric: str) -> str:
    if entry.figure is None:
        return numbers.number(entry.metrics.get(metric))
    return numbers.figure(entry.figure.value, entry.figure.low, entry.figure.high)


def _difference_words(entry: LeaderboardEntry) -> Words:
    if entry.difference is None:
        return ""
    if entry.difference.verdict == "identical":
        return Text("the model", "即本模型")
    return VERDICTS.get(entry.difference.verdict, entry.difference.verdict)


def against_section(against: JsonObject) -> Section:
    """The comparison with an older bundle on the test rows: evidence/against.json."""
    parts = [_comparison_html(against, comparison) for comparison in against["comparisons"]]
    warnings = [look.verdict("warn", in_both_languages(str(warning))) for warning in against.get("warnings", [])]
    body = Html("".join(parts) + (look.bullet_list(warnings, plain=True) if warnings else ""))
    return Section(Text("Against the model before", "与上一个模型比较"), body, id="against")


def _comparison_html(against: JsonObject, comparison: JsonObject) -> Html:
    """The sentence, then every figure of both models and their difference."""
    values = {model["name"]: model["metrics"] for model in against["models"]}
    reference, model = against["reference"], comparison["model"]
    rows: list[list[Cell]] = []
    differences = sorted(comparison["differences"].items(), key=lambda entry: entry[0] != against["metric"])
    for name, difference in differences:
        ends = (difference["value"], difference["low"], difference["high"])
        rows.append(
            [
                look.join(metric_title(name), " ↑" if METRICS.get(name, ("", True))[1] else " ↓"),
                values[reference][name]["value"], values[model][name]["value"], numbers.figure(*ends),
                VERDICTS.get(difference["verdict"], difference["verdict"]),
            ]
        )  # fmt: skip
    heads = [
        Column(Text("Figure", "指标"), "text"), Column(str(reference)), Column(str(model)),
        Column(Text("Difference", "差异")), Column(Text("Verdict", "结论"), "text"),
    ]  # fmt: skip
    caption = Text(
        "95 % intervals by resampling the same rows for both. ↑ higher is better, ↓ lower is better",
        "对相同的行成对重抽样得到的 95 % 区间。↑ 越高越好，↓ 越低越好",
    )
    headline = look.join(Text(**comparison["headline"]), Text(".", "。"))
    return Html(look.paragraph(headline) + look.table(heads, rows, caption=caption, data=comparison))
