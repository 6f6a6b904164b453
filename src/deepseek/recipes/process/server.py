"""The page of a study, served where its operators are: they ask for recipes and type in what came out. Programs, too.

    with StudyServer(Path("line3"), "127.0.0.1", 8040) as server:
        server.serve_forever()

GET / is the page; GET /study the report as JSON. POST /ask {"num": 1}, POST /tell {"trial": 7, "values": {...}} or
{"trial": 7, "failed": true, "reason": "..."} and POST /undo {"trial": 7, "state": "done"} (the state is what the sender
believes, and may be left out) answer {"trials": [...]}. An error is {"error": {"code", "message", "expected", "fix"}}.
What changes something has to be sent as JSON and from the page itself, which keeps out pages of other sites; who
reaches the port may ask and tell, so it listens to this machine alone unless told otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, TypeGuard, get_args

from deepseek.automl.study.trials import State
from deepseek.contracts import JsonObject
from deepseek.errors import InputError
from deepseek.page_server import PageHandler, PageServer
from deepseek.recipes.process.form import render_form_page
from deepseek.recipes.process.verbs import StudyResult, ask_study, report_study, tell_study, undo_trial


class StudyServer(PageServer):
    """One study on one port; a thread for each request, which the lock of the log puts in a row."""

    def __init__(self, folder: Path, host: str, port: int) -> None:
        self.folder = folder
        super().__init__(host, port, StudyHandler)


class StudyHandler(PageHandler):
    """One connection."""

    server: StudyServer
    GET_ROUTES: ClassVar[tuple[str, ...]] = ("/", "/study")
    POST_ROUTES: ClassVar[tuple[str, ...]] = ("/ask", "/tell", "/undo")

    def get(self, path: str, query: Mapping[str, str]) -> None:
        report = report_study(self.server.folder)
        if path == "/":
            self.answer_html(render_form_page(report))
        else:
            self.answer_json(report.to_dict())

    def post(self, path: str, body: JsonObject) -> None:
        work = {"/ask": self._ask, "/tell": self._tell, "/undo": self._undo}[path]
        self.answer_json(work(body).to_dict())

    def _ask(self, body: JsonObject) -> StudyResult:
        num = body.get("num", 1)
        if not _is_number(num):
            raise InputError(f"num is {num!r}", expected="a whole number", fix="send such a number")
        return ask_study(self.server.folder, num)

    def _tell(self, body: JsonObject) -> StudyResult:
        trial, values, has_failed = body.get("trial"), body.get("values", {}), body.get("failed") is True
        if not _is_number(trial) or not isinstance(values, dict):
            raise InputError(
                "the body names no trial with its values", expected='{"trial": 7, "values": {"yield": 81.2}}',
                fix="send these two, or failed: true instead of values",
            )  # fmt: skip
        reason, correct = str(body.get("reason", "")), body.get("correct") is True
        return tell_study(self.server.folder, trial, values, has_failed=has_failed, reason=reason, correct=correct)

    def _undo(self, body: JsonObject) -> StudyResult:
        trial, state = body.get("trial"), body.get("state")
        if not _is_number(trial) or state not in (None, *get_args(State)):
            raise InputError(
                "the body names no trial", expected='{"trial": 7} or {"trial": 7, "state": "done"}', fix="send these"
            )
        return undo_trial(self.server.folder, trial, state)


def _is_number(value: object) -> TypeGuard[int]:
    """JSON's true is an int to Python."""
    return isinstance(value, int) and not isinstance(value, bool)
