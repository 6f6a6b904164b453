"""What a reader must know before trusting an answer about a window: what could not be looked for, and which hosts are
not in it.

An answer that says nothing of these would be wrong without a sign of it: a host whose clock is ahead fills the window
alone, and a past that is too short leaves lateness out.
"""

from __future__ import annotations

from collections.abc import Iterator

from deepseek.look import Text, numbers
from deepseek.observe.reading.tables import Logs
from deepseek.observe.why.badness import MIN_PAST
from deepseek.observe.why.causes import Findings

MIN_ROWS = 50  # of a host, from which its absence says something
NUM_WINDOWS_BEFORE = 12  # in which an absent host is looked for: two hours before ten minutes
MAX_HOSTS = 3  # that are named
#: Column that is held against its own past -> the kind of bad row, in words.
HELD_AGAINST_PAST = {
    "duration_s": Text("late answers", "延迟的回答"), "confidence": Text("unsure answers", "不确定的回答"),
    "value": Text("unusual values", "异常的数值"),
}  # fmt: skip


def list_doubts(logs: Logs, findings: Findings) -> list[Text]:
    """A sentence for each doubt; [] where there is none."""
    return [*_future_rows(logs, findings), *_absent_hosts(logs, findings), *_kinds_without_past(logs, findings)]


def _future_rows(logs: Logs, findings: Findings) -> Iterator[Text]:
    """Rows that are later than now are in no window."""
    if findings.now_s is None:
        return
    count = logs.count(f"SELECT count(*) FROM rows WHERE time > {findings.now_s!r}")
    if count:
        shown = numbers.count(count)
        yield Text(
            f"{shown} rows are later than this machine's clock, and were left out: a clock is apart. Set it, or give "
            "--until.",
            f"{shown} 行晚于本机时钟，未计入：有时钟不准。请校准，或用 --until 指定。",
        )


def _absent_hosts(logs: Logs, findings: Findings) -> Iterator[Text]:
    """Hosts that had many rows shortly before the window, and have none in it."""
    if "host" not in logs.columns:
        return
    window = findings.window
    before_s = max(window.past_start_s, window.start_s - NUM_WINDOWS_BEFORE * (window.end_s - window.start_s))
    hosts = [
        str(name)
        for name, *_ in logs.query(
            f"SELECT CAST(host AS VARCHAR) FROM rows WHERE host IS NOT NULL AND time >= {before_s!r} "
            f"AND time <= {window.end_s!r} GROUP BY 1 HAVING count(*) >= {MIN_ROWS} "
            f"AND count(*) FILTER ({window.sql}) = 0 ORDER BY 1"
        )
    ]
    if not hosts:
        return
    names = ", ".join(hosts[:MAX_HOSTS]) + (" …" if len(hosts) > MAX_HOSTS else "")
    yield Text(
        f"The window has no row of {names}, which answered shortly before it: stopped, or its clock is behind the "
        "others'. If it is the clock, this window is of other minutes there: mend it, or ask for that host alone.",
        f"窗口中没有 {names} 的行，而它在窗口前不久还有回答：可能已停止，或时钟偏慢。若为时钟问题，"
        "该主机对应的是另外的时段：请校准时钟，或单独查询该主机。",
    )


def _kinds_without_past(logs: Logs, findings: Findings) -> Iterator[Text]:
    """Kinds of bad rows that are told by a threshold from the past, which has too few rows for one."""
    if findings.is_chosen:
        return
    window = findings.window
    for column, words in HELD_AGAINST_PAST.items():
        if column not in logs.columns:
            continue
        now, past = (
            logs.count(f"SELECT count({column}) FROM rows WHERE {sql}") for sql in (window.sql, window.past_sql)
        )
        if now and past < MIN_PAST:
            yield Text(
                f"The past has {past} rows with {column}, and {MIN_PAST} are needed: {words.en} were not looked for.",
                f"过去仅有 {past} 行含 {column}，需要 {MIN_PAST} 行：未查找{words.zh}。",
            )
