"""The learning path served to the one who learns on this machine.

    with LearnServer(open_path(), "127.0.0.1", 8060, Path("work")) as server:
        server.serve_forever()

GET / is the page, GET /state where the learner is. POST /start, /check and /hint take {"lab": "..."} and answer what
`deepseek learn` prints with --json. A check runs code of the learner's: the page is served to this machine alone.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import ClassVar

from deepseek.contracts import JsonObject
from deepseek.errors import BusyError, InputError, MissingError
from deepseek.learn.learner.workspace import find_workspace
from deepseek.learn.page.render import render_learn_page
from deepseek.learn.verbs import LearningPath, begin, check, next_hint, overview
from deepseek.page_server import PageHandler, PageServer


class LearnServer(PageServer):
    """One learner's path on one port."""

    def __init__(self, path: LearningPath, host: str, port: int, folder: Path) -> None:
        """`folder`: where labs are begun. InputError for an address that others could reach."""
        if not _is_loopback(host):
            raise InputError(
                f"whoever reaches {host} could run code here", expected="an address of this machine alone",
                fix="leave --host out, and let each learner serve their own",
            )  # fmt: skip
        self.path, self.folder, self.checking = path, folder, threading.Lock()
        super().__init__(host, port, LearnHandler)


class LearnHandler(PageHandler):
    """One connection."""

    server: LearnServer
    GET_ROUTES: ClassVar[tuple[str, ...]] = ("/", "/state")
    POST_ROUTES: ClassVar[tuple[str, ...]] = ("/start", "/check", "/hint")

    def get(self, path: str, query: Mapping[str, str]) -> None:
        result = overview(self.server.path)
        if path == "/state":
            self.answer_json(result.to_dict())
        else:
            self.answer_html(render_learn_page(self.server.path, result))

    def post(self, path: str, body: JsonObject) -> None:
        name = body.get("lab")
        if not isinstance(name, str):
            raise InputError("the body names no lab", expected='{"lab": "..."}', fix="name one")
        lab = self.server.path.catalog.lab(name)
        if path == "/start":
            self.answer_json(self._start(lab.id))
        elif path == "/hint":
            self.answer_json(next_hint(self.server.path, lab.id).to_dict())
        else:
            self.answer_json(self._check(lab.id))

    def _start(self, name: str) -> JsonObject:
        """The folder of a lab: the one that was begun, or a new one."""
        state = next(state for state in overview(self.server.path).states if state.lab.id == name)
        try:
            workspace = find_workspace(state.folder) if state.folder is not None else None
        except MissingError:
            workspace = None
        if workspace is None:
            workspace = begin(self.server.path, name, self.server.folder / name)
        return {"lab": name, "folder": str(workspace.folder), "data": list(workspace.data)}

    def _check(self, name: str) -> JsonObject:
        if not self.server.checking.acquire(blocking=False):
            error = BusyError("another lab is being checked", expected="one at a time", fix="wait for it")
            error.retry_after_s = 5
            raise error
        try:
            return check(self.server.path, name).to_dict()
        finally:
            self.server.checking.release()


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
