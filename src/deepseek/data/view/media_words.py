"""A data card in words: for the terminal (their `.en`) and for the page (both languages).

>>> describe_facts({"format": {"PNG": 1}, "width_px": {"min": 64, "median": 64, "max": 64}}).en
'PNG; width 64 px'
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest

from deepseek import look
from deepseek.data.view.card_schema import BrokenFile, ColumnCard, DataCard, FactSummary, ReadingCard
from deepseek.data.view.personal import describe_reason
from deepseek.look import Column, Html, Text, numbers
from deepseek.look.chinese.page_texts import in_both_languages

MAX_BROKEN_ROWS = 20  # rows of the table of broken files
MAX_FACT_WORDS = 4  # of one fact
MAX_COLUMNS = 200
#: Facts that are words by themselves need no name.
_SELF_EXPLANATORY_FACTS = frozenset(["format", "codec", "modality", "plane", "manufacturer", "mode"])
_FACT_NAMES = {
    "width_px": Text("width", "宽"), "height_px": Text("height", "高"), "rate_hz": Text("rate", "采样率"),
    "channels": Text("channels", "通道"), "seconds": Text("length", "时长"), "silent": Text("silent", "静音"),
    "frames": Text("frames", "帧"), "frames_per_s": Text("frame rate", "帧率"), "with_sound": Text("sound", "有声"),
    "slices": Text("slices", "切片"), "rows": Text("rows", "行"), "columns": Text("columns", "列"),
    "slices_mm": Text("between slices", "层间距"), "rows_mm": Text("between rows", "行间距"),
    "columns_mm": Text("between columns", "列间距"), "moments": Text("moments", "时刻"),
    "missing_share": Text("missing", "缺失"), "characters": Text("characters", "字符"),
}  # fmt: skip
_FACT_UNITS = {
    "width_px": " px", "height_px": " px", "rate_hz": " Hz", "seconds": " s", "frames_per_s": " /s", "slices_mm": " mm",
    "rows_mm": " mm", "columns_mm": " mm",
}  # fmt: skip
_PLANES_ZH = {"axial": "横断面", "coronal": "冠状面", "sagittal": "矢状面"}
_READ_AS_ZH = {"numbers": "数字", "dates": "日期", "text": "文本", "true or false": "是否"}
_KIND_NAMES_ZH = {
    "image": "图像", "audio": "声音", "video": "视频", "volume": "扫描", "series": "序列", "text": "文本",
    "numeric": "数值", "integer_category": "整数类别", "category": "类别", "boolean": "布尔", "datetime": "日期时间",
    "identifier": "标识", "constant": "常量",
}  # fmt: skip


def headline(card: DataCard, name: str) -> Text:
    """The card in one sentence: rows, columns, and how many files are broken."""
    rows, columns = numbers.count(card["num_rows"]), numbers.count(len(card["columns"]))
    files, broken = numbers.count(card["num_files"]), numbers.count(card["num_broken"])
    if not card["num_files"]:
        return Text(
            f"{name}: {rows} rows, {columns} columns, no files.", f"{name}：{rows} 行，{columns} 列，没有文件。"
        )
    en, zh = f"all {files} files can be read", f"全部 {files} 个文件可读"
    if card["num_broken"]:
        en = f"{broken} of {files} files {'is' if card['num_broken'] == 1 else 'are'} broken"
        zh = f"{files} 个文件中有 {broken} 个损坏"
    return Text(f"{name}: {rows} rows, {columns} columns; {en}.", f"{name}：{rows} 行，{columns} 列；{zh}。")


def format_range(low: float, high: float) -> str:
    """A range, or the one value.

    >>> format_range(3, 3), format_range(8000, 16000), format_range(0.25, 1.5), format_range(-1, 1)
    ('3', '8,000–16,000', '0.250–1.50', '−1 … 1')
    """
    first, last = numbers.format_value(low), numbers.format_value(high)
    return first if first == last else f"{first} … {last}" if low < 0 else f"{first}–{last}"


def describe_facts(facts: Mapping[str, FactSummary]) -> Text:
    """All facts of a column, or of one file, as one line of text."""
    parts = [_describe_fact(name, fact) for name, fact in facts.items()]
    kept = [part for part in parts if part.en]
    return Text("; ".join(part.en for part in kept), "；".join(part.zh for part in kept))


def describe_entry(entry: ColumnCard) -> Text:
    """The content of a column as one line of text, and how it was read where that is not plain."""
    content = _describe_content(entry)
    if "reading" not in entry:
        return content
    read = _describe_reading(entry["reading"])
    return Text(f"{content.en}; {read.en}", f"{content.zh}；{read.zh}")


def _describe_reading(reading: ReadingCard) -> Text:
    """What the cells were taken for, by which marks, and how many of them fit."""
    share = f"{reading['fitting_share']:.1%}"
    if reading["looks_like"]:
        kind = _READ_AS_ZH.get(reading["looks_like"], reading["looks_like"])
        return Text(
            f"left as text, though {share} look like {reading['looks_like']}", f"保留为文本，但 {share} 像{kind}"
        )
    how_en, how_zh = (f" ({reading['how']})", f"（{reading['how_zh']}）") if reading["how"] else ("", "")
    kind = _READ_AS_ZH.get(reading["read_as"], reading["read_as"])
    return Text(f"read as {reading['read_as']}{how_en}, {share} of its cells", f"按{kind}读取{how_zh}，符合 {share}")


def _describe_content(entry: ColumnCard) -> Text:
    """The content of a column as one line of text; of a withheld one how many values it has, and why no more."""
    if "withheld" in entry:
        num, reason = numbers.count(entry["num_distinct"]), describe_reason(entry["withheld"])
        return Text(f"{num} values, withheld: {reason.en}", f"{num} 个取值，不予显示：{reason.zh}")
    if "facts" in entry:
        return describe_facts(entry["facts"])
    if entry.get("levels"):
        levels = ", ".join(numbers.clip(str(count["level"]), 20) for count in entry["levels"][:MAX_FACT_WORDS])
        num = numbers.count(entry["num_distinct"])
        return Text(f"{num} values: {levels}", f"{num} 个取值：{levels}")
    if "min" in entry:
        low, high = entry["min"], entry["max"]
        if isinstance(low, str) or isinstance(high, str):  # moments
            shown = f"{str(low)[:10]} – {str(high)[:10]}"
        else:
            shown = format_range(low, high)
        return Text(shown, shown)
    num = numbers.count(entry["num_distinct"])
    return Text(f"{num} values", f"{num} 个取值")


def broken_rows(card: DataCard) -> list[tuple[int, str, BrokenFile]]:
    """Row, column and fault of the first MAX_BROKEN_ROWS broken files, by row; chosen from all columns in turn."""
    faults = [[(file["row"], entry["name"], file) for file in entry.get("broken", ())] for entry in card["columns"]]
    turns = [fault for of_column in zip_longest(*faults) for fault in of_column if fault is not None]
    return sorted(turns[:MAX_BROKEN_ROWS], key=lambda fault: fault[:2])


def broken_list(card: DataCard) -> Html:
    """A list of the broken files, each with what to do; empty where there are none."""
    lines: list[Html] = []
    for _, _, file in broken_rows(card):  # the message says which row and column
        what, fix = clip_sentence(file["message"], 300), clip_sentence(file["fix"], 200)
        lines.append(look.verdict("bad", Text(f"{what.en}. To mend it: {fix.en}.", f"{what.zh}。处理办法：{fix.zh}。")))
    if not lines:
        return Html("")
    body = look.bullet_list(lines, plain=True)
    if card["num_broken"] > len(lines):
        num = numbers.count(card["num_broken"])
        words = Text(f"The first {len(lines)} of {num}.", f"共 {num} 个，此处列出 {len(lines)} 个。")
        body = Html(body + look.paragraph(words, note=True))
    return body


def clip_sentence(sentence: str, most: int) -> Text:
    """A sentence of an error in both languages, each of at most so many characters."""
    words = in_both_languages(sentence)
    return Text(numbers.clip(words.en, most), numbers.clip(words.zh, most))


def columns_table(card: DataCard) -> Html:
    """A table with one line for each column: its kind, how much is missing or broken, what it holds."""
    columns = [
        Column(Text("Column", "列"), "text"), Column(Text("Kind", "类型"), "text"), Column(Text("Missing", "缺失")),
        Column(Text("Broken", "损坏")), Column(Text("What it holds", "内容"), "text"),
    ]  # fmt: skip
    entries = card["columns"]
    rows: list[list[look.Words]] = [
        [numbers.clip(e["name"], 60), Text(e["kind"], _KIND_NAMES_ZH.get(e["kind"], e["kind"])), missing_count(e, card),
         numbers.count(e["num_broken"]) if "num_broken" in e else "", describe_entry(e)]
        for e in entries[:MAX_COLUMNS]
    ]  # fmt: skip
    caption: look.Words = ""
    if len(entries) > MAX_COLUMNS:
        num = numbers.count(len(entries))
        caption = Text(f"The first {MAX_COLUMNS} of {num} columns.", f"共 {num} 列，此处列出前 {MAX_COLUMNS} 列。")
    return look.table(columns, rows, caption=caption)


def missing_count(entry: ColumnCard, card: DataCard) -> str:
    """The number of missing values of a column, as text."""
    return numbers.count(round(entry["missing_share"] * card["num_rows"]))


def withheld_columns(card: DataCard) -> Text:
    """The columns of which no value is told, each with why; empty where there are none."""
    held = [(numbers.clip(e["name"], 60), describe_reason(e["withheld"])) for e in card["columns"] if "withheld" in e]
    return Text(
        ", ".join(f"{name} ({reason.en})" for name, reason in held),
        "、".join(f"{name}（{reason.zh}）" for name, reason in held),
    )


def describe_copies(card: DataCard) -> list[Text]:
    """A line for each column in which rows hold the same bytes."""
    return [_describe_column_copies(entry) for entry in card["columns"] if entry.get("copies", {}).get("num_groups")]


def copies_note(card: DataCard) -> Html:
    """The lines of describe_copies() as a list of warnings; empty where there are none."""
    lines: Sequence[Html] = [look.verdict("warn", words) for words in describe_copies(card)]
    return look.bullet_list(lines, plain=True) if lines else Html("")


def _describe_column_copies(entry: ColumnCard) -> Text:
    name, copies = numbers.clip(entry["name"], 60), entry["copies"]
    first = "; ".join(", ".join(map(str, group["rows"])) for group in copies["groups"][:3])
    num = numbers.count(copies["num_rows"])
    return Text(
        f"{name}: {num} rows hold the same file as another row (rows {first}). Keep them on one side of a split.",
        f"{name}：{num} 行与其他行的文件相同（行 {first}）。划分数据时应放在同一侧。",
    )


def _describe_fact(name: str, fact: FactSummary) -> Text:
    label = _FACT_NAMES.get(name, Text(name, name))
    if "min" in fact and "median" in fact:
        if name == "missing_share":
            return Text("", "") if not fact["max"] else _describe_percent(label, fact)
        shown = format_range(fact["min"], fact["max"]) + _FACT_UNITS.get(name, "")
        return Text(f"{label.en} {shown}", f"{label.zh} {shown}")
    if name in ("silent", "with_sound"):
        yes, num = fact.get("yes", 0), sum(fact.values())
        if not yes:
            return Text("", "")
        return label if num == 1 else Text(f"{label.en} {yes} of {num}", f"{label.zh} {yes}/{num}")
    several = len(fact) > 1
    words = [f"{numbers.clip(word, 30)} {num}" if several else numbers.clip(word, 30) for word, num in fact.items()]
    more = f", … ({len(words)})" if len(words) > MAX_FACT_WORDS else ""
    line = ", ".join(words[:MAX_FACT_WORDS]) + more
    if name == "plane":
        zh = [
            f"{_PLANES_ZH.get(word, word)} {num}" if several else _PLANES_ZH.get(word, word)
            for word, num in fact.items()
        ]
        return Text(line, "、".join(zh[:MAX_FACT_WORDS]) + more)
    return Text(line, line) if name in _SELF_EXPLANATORY_FACTS else Text(f"{label.en} {line}", f"{label.zh} {line}")


def _describe_percent(label: Text, fact: FactSummary) -> Text:
    shown = format_range(100 * fact["min"], 100 * fact["max"])
    return Text(f"{label.en} {shown} % of values", f"{label.zh} {shown} %（占全部值）")
