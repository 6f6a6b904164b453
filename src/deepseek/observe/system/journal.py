"""Entries of the journal (`journalctl -o json`) and lines of syslog files -> SystemEvents.

Sources: systemd's Journal Export Formats (JSON: a field that is not UTF-8 is a list of bytes); RFC 3164, RFC 5424.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from deepseek.observe.system.events import SystemEvent, clean_text
from deepseek.observe.system.messages import read_message

MAX_HOST = 120  # characters
NUM_SEVERITIES = 8  # a priority below it is of facility 0, the kernel
JOURNAL_TIME = "__REALTIME_TIMESTAMP"  # us since 1970
#: "Nov 29 10:04:01 host program[pid]: text", and the same with an ISO time or a priority before it.
_LINE = re.compile(
    r"(?:<(?P<priority>\d{1,3})>(?:1 )?)?"
    r"(?P<time>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT[\d:.,]{8,15}(?:Z|[+-]\d\d:?\d\d)?) "
    r"(?P<host>\S{1,120}) (?P<program>[^\s\[:]{1,64})(?:\[\d{1,10}\])?:? (?P<text>.*)",
    re.DOTALL,
)


def read_journal_entry(entry: Mapping[str, Any]) -> SystemEvent | None:
    """What an entry tells. ValueError for one without a time."""
    time_s = int(entry[JOURNAL_TIME]) / 1e6
    if not 0 < time_s < 1e11:
        raise ValueError("no time")
    host = clean_text(_field_text(entry.get("_HOSTNAME")), MAX_HOST)
    program = _field_text(entry.get("SYSLOG_IDENTIFIER") or entry.get("_COMM"))
    is_kernel = entry.get("_TRANSPORT") == "kernel"  # fields with _ are the journal's own: no program can set them
    return read_message(
        time_s, host, "kernel" if is_kernel else program, _field_text(entry.get("MESSAGE")), is_kernel=is_kernel
    )


def read_ecs_entry(entry: Mapping[str, Any]) -> SystemEvent | None:
    """What a line of the journal or of syslog tells as Filebeat writes it: with names of the Elastic Common Schema,
    objects in objects, and the journal's transport under "systemd". ValueError for one without a time."""
    time_s = datetime.fromisoformat(str(entry["@timestamp"])).timestamp()
    text = entry.get("message")
    if not isinstance(text, str):
        return None
    host, log, systemd = (entry.get(name) or {} for name in ("host", "log", "systemd"))
    name = clean_text(_field_text(host.get("hostname") or host.get("name")), MAX_HOST)
    program = _field_text((log.get("syslog") or {}).get("appname") or (entry.get("syslog") or {}).get("identifier"))
    program = program or _field_text((entry.get("process") or {}).get("name"))
    is_kernel = systemd["transport"] == "kernel" if "transport" in systemd else program == "kernel"
    return read_message(time_s, name, "kernel" if is_kernel else program, text, is_kernel=is_kernel)


def _field_text(value: object) -> str:
    """A field's text, also of one that the journal gives as bytes, or several times."""
    if isinstance(value, list):
        if value and all(isinstance(each, int) for each in value):
            return bytes(each & 0xFF for each in value).decode("utf-8", "replace")
        return _field_text(value[0]) if value and not isinstance(value[0], list) else ""
    return value if isinstance(value, str) else ""


def read_syslog_line(line: str, latest_s: float) -> SystemEvent | None:
    """What a line tells. `latest_s`: no line is later (since 1970): of a time without a year the last one before it is
    taken. A time without a zone is of this machine's. A program that calls itself the kernel is told from it where the
    line has its priority, whose facility no program can choose to be the kernel's; else it is believed. ValueError for
    what is no line of syslog."""
    match = _LINE.match(line)
    if match is None:
        raise ValueError("no line of syslog")
    time_s = _parse_time(match["time"], latest_s)
    program = match["program"]
    host = clean_text(match["host"], MAX_HOST)
    is_kernel = program == "kernel" and int(match["priority"] or 0) < NUM_SEVERITIES
    return read_message(time_s, host, program, match["text"].strip(), is_kernel=is_kernel)


def _parse_time(text: str, latest_s: float) -> float:
    if text[0].isdigit():
        return datetime.fromisoformat(text.replace(",", ".")).timestamp()
    year = datetime.fromtimestamp(latest_s if math.isfinite(latest_s) else 0.0).astimezone().year
    for each in (year, year - 1, year - 2, year - 3, year - 4):  # 29 February is in one of four
        try:
            time_s = datetime.strptime(f"{each} {text}", "%Y %b %d %H:%M:%S").astimezone().timestamp()
        except ValueError:
            continue
        if time_s <= latest_s + 60.0:
            return time_s
    raise ValueError("no such day")
