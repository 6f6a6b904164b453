"""What was not as it should be with a log, in words."""

from __future__ import annotations

from deepseek.look import Text, numbers
from deepseek.observe.reading.tables import ReadingNotes


def reading_words(notes: ReadingNotes) -> list[Text]:
    """A sentence for each fault; [] for a log without any."""
    lines = []
    if notes.num_broken:
        count = numbers.count(notes.num_broken)
        lines.append(Text(f"{count} broken lines were passed over.", f"跳过 {count} 条损坏的行。"))
    if notes.num_without_time:
        count = numbers.count(notes.num_without_time)
        lines.append(Text(f"{count} rows without a time were passed over.", f"跳过 {count} 条没有时间的行。"))
    if notes.broken_files:
        names = ", ".join(notes.broken_files[:3])
        lines.append(
            Text(
                f"{len(notes.broken_files)} files of Parquet break off and were passed over: {names}.",
                f"跳过 {len(notes.broken_files)} 个不完整的 Parquet 文件：{names}。",
            )
        )
    if notes.line_share < 1:
        share = numbers.number(100 * notes.line_share)
        lines.append(
            Text(f"The log is very long: {share} % of its lines were read.", f"日志很长：读取了其中 {share} % 的行。")
        )
    for host, offset_s in notes.clock_offsets_s.items():
        size = numbers.duration(abs(offset_s))
        way, way_zh = ("ahead of", "快") if offset_s > 0 else ("behind", "慢")
        lines.append(
            Text(
                f"The clock of {host} is {size} {way} the others; its rows were moved. Mend its clock.",
                f"{host} 的时钟比其他主机{way_zh} {size}；其行已校正。请校准时钟。",
            )
        )
    if notes.num_unknown_labels:
        some, all_ = numbers.count(notes.num_unknown_labels), numbers.count(notes.num_labels)
        lines.append(
            Text(
                f"{some} of {all_} labels are of requests that the log does not have.",
                f"{all_} 个标签中有 {some} 个对应的请求不在日志中。",
            )
        )
    return lines + system_words(notes)


def system_words(notes: ReadingNotes) -> list[Text]:
    """What became of the events of machines and containers."""
    lines = []
    for number, en, zh in (
        (
            notes.num_broken_system,
            "lines of the system's log have no known form and were passed over.",
            "行系统日志格式未知，已跳过。",
        ),
        (
            notes.num_unjoined_system,
            "system events are of hosts that the log does not have.",
            "个系统事件所属主机不在日志中。",
        ),
        (
            notes.num_dropped_system,
            "system events were too many, and the oldest were left out.",
            "个系统事件过多，最早的未计入。",
        ),
    ):
        if number:
            count = numbers.count(number)
            lines.append(Text(f"{count} {en}", f"{count} {zh}"))
    return lines
