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

import json
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import ClassVar, TypeGuard, get_args

from deepseek.automl.study.trials import State
from deepseek.contracts import JsonObject
from deepseek.errors import BusyError, DeepseekError, InputError, MalformedError
from deepseek.http_errors import ForeignOriginError, MediaTypeError, MisdirectedHostError
from deepseek.recipes.process.form import render_form_page
from deepseek.recipes.process.verbs import StudyResult, ask_study, report_study, tell_study, undo_trial

MOST_BODY_BYTES = 2**20
TIMEOUT_S = 30  # of a connection that sends nothing


class StudyServer(ThreadingHTTPServer):
    """One study on one port; a thread for each request, which the lock of the log puts in a row."""

    daemon_threads = True

    def __init__(self, folder: Path, host: str, port: int) -> None:
        self.folder, self.host = folder, host
        super().__init__((host, port), StudyHandler)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.server_address[1]}"

    def is_own(self, host: str) -> bool:
        """Whether a request asks for this server by an address, for which no name is looked up, by localhost or by the
        host that it was started with. A name that somebody else's DNS points here is none of them."""
        name, _, port = host.rpartition(":")
        if port != str(self.server_address[1]):
            return False
        try:
            return bool(ip_address(name.strip("[]")))
        except ValueError:
            return name in ("localhost", self.host)


class StudyHandler(BaseHTTPRequestHandler):
    """One connection."""

    server: StudyServer
    protocol_version = "HTTP/1.1"
    timeout = TIMEOUT_S
    GET_ROUTES: ClassVar[tuple[str, ...]] = ("/", "/study")
    POST_ROUTES: ClassVar[tuple[str, ...]] = ("/ask", "/tell", "/undo")

    def do_GET(self) -> None:
        try:
            self._check_host()
            report = report_study(self.server.folder)
            if self.path == "/":
                self._answer(HTTPStatus.OK, render_form_page(report).encode(), "text/html; charset=utf-8")
            elif self.path == "/study":
                self._answer_json(HTTPStatus.OK, report.to_dict())
            else:
                self._answer_unknown()
        except DeepseekError as error:
            self._answer_error(error)

    def do_POST(self) -> None:
        try:
            self._check_host()
            body = self._read_body()
            if self.path == "/ask":
                self._answer_json(HTTPStatus.OK, self._ask(body).to_dict())
            elif self.path == "/tell":
                self._answer_json(HTTPStatus.OK, self._tell(body).to_dict())
            elif self.path == "/undo":
                self._answer_json(HTTPStatus.OK, self._undo(body).to_dict())
            else:
                self._answer_unknown()
        except DeepseekError as error:
            self._answer_error(error)

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

    def _check_host(self) -> None:
        host = self.headers.get("Host", "")
        if not self.server.is_own(host):
            self.close_connection = True
            raise MisdirectedHostError(host.encode())
        origin = self.headers.get("Origin")
        if origin is not None and origin != f"http://{host}":
            self.close_connection = True
            raise ForeignOriginError(origin.encode())

    def _read_body(self) -> JsonObject:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > MOST_BODY_BYTES:
            self.close_connection = True
            raise MalformedError(
                "the body has no length, or is too long", expected=f"at most {MOST_BODY_BYTES} bytes", fix="send less"
            )
        data = self.rfile.read(int(length))
        if self.headers.get_content_type() != "application/json":
            raise MediaTypeError("the body is no JSON", expected="Content-Type: application/json", fix="send it so")
        try:
            body = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise MalformedError("the body is no JSON", expected="a JSON object", fix="mend it") from error
        if not isinstance(body, dict):
            raise MalformedError("the body is no JSON object", expected="a JSON object", fix="mend it")
        return body

    def _answer_unknown(self) -> None:
        routes = ", ".join((*self.GET_ROUTES, *self.POST_ROUTES))
        error = {"code": "not_found", "message": f"there is no {self.path}", "expected": routes, "fix": "ask for these"}
        self._answer_json(HTTPStatus.NOT_FOUND, {"error": error})

    def _answer_error(self, error: DeepseekError) -> None:
        self._answer_json(error.status, {"error": error.to_dict()}, retry=isinstance(error, BusyError))

    def _answer_json(self, status: int, document: JsonObject, *, retry: bool = False) -> None:
        data = json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
        self._answer(status, data, "application/json", retry=retry)

    def _answer(self, status: int, data: bytes, kind: str, *, retry: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        if retry:
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # http.server names it so
        """Nothing: the study's log has what matters."""


def _is_number(value: object) -> TypeGuard[int]:
    """JSON's true is an int to Python."""
    return isinstance(value, int) and not isinstance(value, bool)
