"""GET /v1/running: what else of this package runs on this machine, as JSON and as a part of the console."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from deepseek import look
from deepseek.look import Column, Html, Text, numbers
from deepseek.running import Running, running
from deepseek.serve.core.request import Request, Response

#: What each kind is called, and the command that starts one: shown where none runs.
NAMES = {
    "serve": Text("Models", "模型"),
    "stream": Text("Streams", "流"),
    "label": Text("Labels", "标注"),
    "study": Text("Studies of several owners", "多方研究"),
    "process": Text("Settings of a process", "工艺参数"),
    "learn": Text("Learning path", "学习路径"),
}
COMMANDS = {
    "serve": "deepseek serve BUNDLE",
    "stream": "deepseek stream BUNDLE --state DIR",
    "label": "deepseek label serve PROJECT",
    "study": "deepseek federate serve STUDY --key KEY",
    "process": "deepseek recipe process serve STUDY",
    "learn": "deepseek learn serve",
}


class RunningPage:
    """The handler of the route. `listed`: where the list comes from."""

    def __init__(self, listed: Callable[[], Sequence[Running]] = running) -> None:
        self._listed = listed

    def __call__(self, _: Request) -> Response:
        own = {os.getpid(), os.getppid()}  # this server, and the parent of a group of front ends
        others = [entry for entry in self._listed() if not (entry.kind == "serve" and entry.pid in own)]
        listed = [
            {"kind": entry.kind, "name": entry.name, "url": entry.url, "pid": entry.pid, "started_s": entry.started_s}
            for entry in others
        ]
        return Response.json({"running": listed, "html": str(draw_running(others, time.time()))})


def draw_running(others: Sequence[Running], now_s: float) -> Html:
    """A row for each, with a link to its page; then what else may run, each with its command."""
    parts: list[str] = []
    if others:
        rows = [
            (look.inline(NAMES[entry.kind]), _link(entry), numbers.duration(max(0.0, now_s - entry.started_s)))
            for entry in others
        ]
        columns = [
            Column(Text("What", "内容"), "text"), Column(Text("Name", "名称"), "text"), Column(Text("Since", "已运行"))
        ]  # fmt: skip
        parts.append(str(look.table(columns, rows)))
    missing = [kind for kind in NAMES if kind not in {entry.kind for entry in others} and kind != "serve"]
    if missing:
        lines = "".join(f"<li>{look.inline(NAMES[kind])}: <code>{COMMANDS[kind]}</code></li>" for kind in missing)
        lead = (
            Text("What else could run here, and how it is started:", "还可以在这里运行的内容，以及启动方法：")
            if others
            else Text("Nothing else of yours runs here. To start something:", "本机上没有运行其他内容。启动方法：")
        )
        parts.append(f'<p class="note">{look.inline(lead)}</p><ul class="note">{lines}</ul>')
    return Html("".join(parts))


def _link(entry: Running) -> Html:
    name = look.inline(entry.name or entry.kind)
    return Html(f'<a href="{look.escape(entry.url)}">{name}</a>') if entry.url else name
