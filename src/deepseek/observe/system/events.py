"""What an event of a machine is, and what each kind is called."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args

from deepseek.look import Text

EventKind = Literal[
    "oom_kill", "gpu_fault", "disk_full", "disk_error", "crash", "killed", "evicted", "node_lost", "restarted",
    "unhealthy", "throttled", "clock_step",
]  # fmt: skip
#: The worst first: of events that belong together the worst one is told.
SEVERITY: Mapping[str, int] = {kind: rank for rank, kind in enumerate(get_args(EventKind))}
MAX_SUBJECT, MAX_MESSAGE = 80, 200  # characters
#: The column that joined events make, and the name of the field that `why` looks at.
SYSTEM_FIELD = "system event"


@dataclass(frozen=True, slots=True)
class SystemEvent:
    """One thing that went wrong with a machine or a container. Texts hold no control characters."""

    time_s: float  # since 1970
    host: str  # "": not told
    kind: EventKind
    subject: str  # process, container, pod, disk or GPU; "" where nothing says which
    message: str  # as it was written, cut
    pid: int = 0  # of the process; 0: not told
    other_hosts: tuple[str, ...] = ()  # names under which requests may know it: of its container, of its pod

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every name of where it happened, "" where nothing says so."""
        return tuple(dict.fromkeys((self.host, *self.other_hosts)))

    @property
    def sentence(self) -> str:
        """What happened, to what, where and when (UTC)."""
        what, _ = WORDS[self.kind]
        where = f" on {self.host}" if self.host else ""
        moment = datetime.fromtimestamp(self.time_s, UTC)
        return f"{what.en.replace('{}', self.subject or 'a process')}{where} at {moment:%H:%M:%S}"


#: What happened, with {} for the subject, and what to do.
WORDS: Mapping[EventKind, tuple[Text, Text]] = {
    "oom_kill": (
        Text("the kernel killed {} for want of memory", "内核因内存不足终止了 {}"),
        Text(
            "Raise the memory limit, or serve with fewer workers; look at what grew before that.",
            "提高内存上限，或减少 worker；查看此前是什么增长。",
        ),
    ),
    "gpu_fault": (
        Text("the driver told a GPU fault of {}", "驱动报告 {} 的 GPU 故障"),
        Text("Drain the GPU, and look its Xid up with the vendor.", "停用该 GPU，并按 Xid 查询厂商说明。"),
    ),
    "disk_full": (
        Text("the disk of {} was full", "{} 的磁盘已满"),
        Text("Make room on the disk; limit logs and snapshots.", "腾出磁盘空间；限制日志与快照。"),
    ),
    "disk_error": (
        Text("the disk {} failed", "磁盘 {} 出错"),
        Text("Replace the disk; move the server until then.", "更换磁盘；在此之前迁移服务。"),
    ),
    "crash": (
        Text("{} crashed", "{} 崩溃"),
        Text("Report the crash with the kernel's line; roll its version back.", "附内核日志上报崩溃；回退其版本。"),
    ),
    "killed": (
        Text("{} was killed", "{} 被终止"),
        Text("Find out who killed it: limits, a deployment, a person.", "查明是谁终止了它：限额、部署或人为。"),
    ),
    "evicted": (
        Text("{} was evicted", "{} 被驱逐"),
        Text("Give the pod requests that its node can hold.", "为 Pod 设置节点可承受的资源请求。"),
    ),
    "node_lost": (
        Text("the node {} was not ready", "节点 {} 未就绪"),
        Text("Drain the node, and look at its kubelet and network.", "排空节点，检查 kubelet 与网络。"),
    ),
    "restarted": (
        Text("{} was started again", "{} 被重新启动"),
        Text("Look at why it ended; warm it up before it gets requests.", "查明其退出原因；预热后再接收请求。"),
    ),
    "unhealthy": (
        Text("{} failed its health check", "{} 未通过健康检查"),
        Text("Look at what the check asks, and how long it waits.", "检查健康检查的内容与超时。"),
    ),
    "throttled": (
        Text("the processors of {} were throttled by heat", "{} 的处理器因过热降频"),
        Text("Cool the machine, or move the server.", "为机器降温，或迁移服务。"),
    ),
    "clock_step": (
        Text("the clock of {} was stepped", "{} 的时钟发生跳变"),
        Text("Mend time synchronisation; deadlines were wrong until then.", "修复时间同步；此前的超时判断有误。"),
    ),
}


#: The kind of an event -> its sentence, with subject, host and time.
_SENTENCES = {
    kind: re.compile(
        re.escape(what.en).replace(r"\{\}", "(?P<subject>.*?)") + r"(?: on (?P<host>.*))? at (?P<time>[\d:]{8})"
    )
    for kind, (what, _) in WORDS.items()
}


def event_words(sentence: str) -> tuple[Text, Text] | None:
    """An event in both languages and what to do about it, by its sentence; None for a text that is none."""
    for kind, pattern in _SENTENCES.items():
        match = pattern.fullmatch(sentence)
        if match is not None:
            what, action = WORDS[kind]
            where = f" {match['host']} 上" if match["host"] else " "
            return Text(sentence, f"{match['time']}{where}{what.zh.replace('{}', match['subject'])}"), action
    return None


def clean_text(text: str, most: int) -> str:
    """A text of a stranger in one line, without control characters, and cut.

    >>> clean_text("a\\x1b[31m b\\n", 10)
    'a [31m b'
    """
    return " ".join("".join(each if each.isprintable() else " " for each in text[: 4 * most]).split())[:most]
