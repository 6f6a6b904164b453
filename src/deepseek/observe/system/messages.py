"""Messages of the kernel and of the service manager -> what they tell. Only what these programs write counts: a line of
any other program that looks like theirs is no event."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from deepseek.observe.system.events import MAX_MESSAGE, MAX_SUBJECT, EventKind, SystemEvent, clean_text

KERNEL = frozenset(["kernel"])
MANAGERS = frozenset(["systemd", "init"])
CLOCKS = frozenset(["chronyd", "systemd-timesyncd", "ntpd"])
MAX_LOOKED_AT = 1_000  # characters of a message


@dataclass(frozen=True, slots=True)
class MessageRule:
    """What a message of certain programs tells. The pattern may name `name` and `pid`."""

    programs: frozenset[str]
    pattern: re.Pattern[str]
    kind: EventKind
    subject: Callable[[re.Match[str]], str]


def _process(match: re.Match[str]) -> str:
    return f"{match['name']} (pid {match['pid']})"


def _name(match: re.Match[str]) -> str:
    return match["name"]


_UNIT = r"(?P<name>[\w@.:-]{1,80}\.service): "
RULES = (
    MessageRule(
        KERNEL,
        re.compile(
            r"(?:[Oo]ut of memory|OOM).{0,40}?[Kk]ill(?:ed)? process (?P<pid>\d{1,10}) \((?P<name>[^)]{1,64})\)"
        ),
        "oom_kill",
        _process,
    ),
    MessageRule(
        KERNEL, re.compile(r"^oom-kill:.{0,600},task=(?P<name>[^,]{1,64}),pid=(?P<pid>\d{1,10})"), "oom_kill", _process
    ),
    MessageRule(KERNEL, re.compile(r"NVRM: Xid \((?P<name>[^)]{1,64})\): (?P<code>\d{1,4})"), "gpu_fault", _name),
    MessageRule(
        KERNEL,
        re.compile(r"(?P<name>[^\s\[]{1,64})\[(?P<pid>\d{1,10})\]:? (?:segfault at|general protection)"),
        "crash",
        _process,
    ),
    MessageRule(KERNEL, re.compile(r"traps: (?P<name>[^\s\[]{1,64})\[(?P<pid>\d{1,10})\]"), "crash", _process),
    MessageRule(
        KERNEL,
        re.compile(r"(?:I/O error, dev|EXT4-fs error \(device|Buffer I/O error on dev) (?P<name>[\w-]{1,32})"),
        "disk_error",
        _name,
    ),
    MessageRule(KERNEL, re.compile(r"(?P<name>CPU\d{1,4}).{0,40}temperature above threshold"), "throttled", _name),
    MessageRule(MANAGERS, re.compile(_UNIT + r".{0,20}Failed with result 'oom-kill'"), "oom_kill", _name),
    MessageRule(MANAGERS, re.compile(_UNIT + r"Main process exited, code=(?:killed|dumped)"), "killed", _name),
    MessageRule(MANAGERS, re.compile(_UNIT + r"Scheduled restart job"), "restarted", _name),
    MessageRule(CLOCKS, re.compile(r"[Cc]lock (?:was |wrong by|.{0,20}stepped)"), "clock_step", lambda _: ""),
)
#: The container of a process, in the path of its control group.
CONTAINER_ID = re.compile(r"task_memcg=\S{0,400}?(?P<id>[0-9a-f]{64})")
SHORT_ID = 12  # characters of a container's id that are its host's name
FULL_DISK = re.compile(r"No space left on device")


def read_message(time_s: float, host: str, program: str, text: str, *, is_kernel: bool) -> SystemEvent | None:
    """What a message tells; None where it is no trouble. `is_kernel`: whether it surely comes from the kernel, which a
    program that merely calls itself so does not."""
    name = program.lower()
    looked_at = text[:MAX_LOOKED_AT]
    for rule in RULES:
        if name not in rule.programs or (rule.programs is KERNEL and not is_kernel):
            continue
        match = rule.pattern.search(looked_at)
        if match is not None:
            pid = int(match["pid"]) if "pid" in rule.pattern.groupindex else 0
            subject = clean_text(rule.subject(match) or host, MAX_SUBJECT)
            container = CONTAINER_ID.search(looked_at)
            others = () if container is None else (container["id"][:SHORT_ID],)
            return SystemEvent(time_s, host, rule.kind, subject, clean_text(looked_at, MAX_MESSAGE), pid, others)
    if FULL_DISK.search(looked_at):
        return SystemEvent(time_s, host, "disk_full", host, clean_text(looked_at, MAX_MESSAGE))
    return None
