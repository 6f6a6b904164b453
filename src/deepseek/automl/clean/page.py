"""Findings as a page: the answer first, then each kind with its rows and evidence, and how to go on."""

from __future__ import annotations

from collections import Counter

from deepseek import look
from deepseek.automl.clean.findings import CleanFinding, CleanReport
from deepseek.look import Column, Section, Text

MAX_SHOWN = 100
TITLES = {
    "wrong_label": Text("Labels that are probably wrong", "可能错误的标签"),
    "label_conflict": Text("Copies with different labels", "标签不一致的重复行"),
    "near_duplicate": Text("Near duplicates", "近似重复行"),
    "group_leak": Text("Copies in two groups", "跨组的重复行"),
    "outlier": Text("Far from all others", "离群值"),
    "broken_file": Text("Broken files", "损坏的文件"),
    "empty_row": Text("Empty rows", "空行"),
}


def render_clean_page(report: CleanReport, *, name: str, num_rows: int, command: str) -> str:
    """The page of a report on the file `name`."""
    counts = Counter(each.kind for each in report.findings)
    rows = len({each.row for each in report.findings})
    answer = Text(
        f"{rows:,} of {num_rows:,} rows need a look." if rows else f"Nothing looks wrong in {num_rows:,} rows.",
        f"{num_rows:,} 行中有 {rows:,} 行需要检查。" if rows else f"{num_rows:,} 行中未发现问题。",
    )
    sections = [
        Section(
            TITLES[kind],
            _table([each for each in report.findings if each.kind == kind], count),
            id=kind.replace("_", "-"),
        )
        for kind, count in counts.items()
    ]
    notes = [look.paragraph(note, note=True) for note in report.notes]
    if notes:
        title = Text("What was not looked at", "未检查的内容")
        sections.append(Section(title, look.Html("".join(notes)), id="notes"))
    return look.page(
        Text(f"Cleaning: {name}", f"清理：{name}"), answer, sections,
        provenance={Text("Data", "数据"): name, Text("Made by", "生成命令"): command},
    )  # fmt: skip


def _table(findings: list[CleanFinding], count: int) -> look.Html:
    columns = [
        Column(Text("Row", "行")), Column(Text("Now", "现为"), "text"), Column(Text("Better", "建议"), "text"),
        Column(Text("Score", "得分")), Column(Text("Evidence", "依据"), "text"),
    ]  # fmt: skip
    rows: list[list[look.Words | int]] = [
        [each.row, each.old, each.new, f"{each.score:.2f}", each.evidence] for each in findings[:MAX_SHOWN]
    ]
    caption = Text(f"The surest {len(rows):,} of {count:,}", f"{count:,} 项中最确定的 {len(rows):,} 项")
    return look.table(columns, rows, caption=caption if count > MAX_SHOWN else "")
