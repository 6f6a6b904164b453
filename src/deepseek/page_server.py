"""A page and what it asks for, served to the people who work with it: a thread for each connection, JSON both ways.

    class Server(PageServer): ...                # holds what the handler needs
    class Handler(PageHandler):
        def get(self, path: str, query: dict[str, str]) -> None: self.answer_html("...")
        def post(self, path: str, body: JsonObject) -> None: self.answer_json({"ok": True})

What changes something has to be sent as JSON and from the page itself, which keeps out pages of other sites; a request
for a host that this server is not is refused, so that a name of somebody else's DNS leads nowhere. An error is
{"error": {"code", "message", "expected", "fix"}}. For models and many clients there is deepseek.serve.
"""

from __future__ import annotations

import json
import sys
from abc import abstractmethod
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

from deepseek.errors import BusyError, DeepseekError, InputError, MalformedError
from deepseek.http_errors import ForeignOriginError, MediaTypeError, MisdirectedHostError

if TYPE_CHECKING:  # contracts brings numpy, which a page does not need
    from deepseek.contracts import JsonObject

MOST_BODY_BYTES = 2**20
TIMEOUT_S = 30  # of a connection that sends nothing


class PageServer(ThreadingHTTPServer):
    """One page on one port."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host: str, port: int, handler: type[PageHandler]) -> None:
        """InputError where the address is not free."""
        self.host = host
        try:
            super().__init__((host, port), handler)
        except OSError as error:
            raise InputError(
                f"{host}:{port} cannot be listened to: {error.strerror}",
                expected="an address and port that are free", fix="choose another --port",
            ) from error  # fmt: skip

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone away is no news; anything else is a bug of ours, and is shown."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

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


class PageHandler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    timeout = TIMEOUT_S
    disable_nagle_algorithm = True
    GET_ROUTES: ClassVar[tuple[str, ...]] = ()
    POST_ROUTES: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def get(self, path: str, query: Mapping[str, str]) -> None:
        """Answer a GET of one of GET_ROUTES, or of a path below one that ends with a slash."""

    @abstractmethod
    def post(self, path: str, body: JsonObject) -> None:
        """Answer a POST of one of POST_ROUTES."""

    def do_GET(self) -> None:
        try:
            self._check_host()
            parts = urlsplit(self.path)
            if not self._is_route(parts.path, self.GET_ROUTES):
                self._answer_unknown(parts.path)
                return
            self.get(parts.path, dict(parse_qsl(parts.query, max_num_fields=20)))
        except DeepseekError as error:
            self._answer_error(error)
        except ValueError:  # of urlsplit() and parse_qsl()
            self._answer_error(MalformedError("the address cannot be read", expected="a path", fix="mend it"))

    def do_POST(self) -> None:
        try:
            self._check_host()
            body = self._read_body()
            if self._is_route(self.path, self.POST_ROUTES):
                self.post(self.path, body)
            else:
                self._answer_unknown(self.path)
        except DeepseekError as error:
            self._answer_error(error)

    def answer_html(self, page: str) -> None:
        self.answer_bytes(HTTPStatus.OK, page.encode(), "text/html; charset=utf-8")

    def answer_json(self, document: JsonObject, status: int = HTTPStatus.OK, *, retry: bool = False) -> None:
        data = json.dumps(document, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
        self.answer_bytes(status, data, "application/json", retry=retry)

    def answer_bytes(
        self, status: int, data: bytes, kind: str, *, retry: bool = False, cache: str = "no-store"
    ) -> None:
        """A whole response. `cache`: Cache-Control."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", cache)
        self.send_header("X-Content-Type-Options", "nosniff")
        if retry:
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # http.server names it so
        """Nothing: what matters is kept by who answers."""

    @staticmethod
    def _is_route(path: str, routes: tuple[str, ...]) -> bool:
        return any(
            path == route or (len(route) > 1 and route[-1] == "/" and path.startswith(route)) for route in routes
        )

    def _check_host(self) -> None:
        host = self.headers.get("Host", "")
        assert isinstance(self.server, PageServer)  # noqa: S101  (PageServer takes no other handler)
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

    def _answer_unknown(self, path: str) -> None:
        routes = ", ".join((*self.GET_ROUTES, *self.POST_ROUTES))
        error = {
            "code": "not_found",
            "message": f"there is no {path[:200]}",
            "expected": routes,
            "fix": "ask for these",
        }
        self.answer_json({"error": error}, HTTPStatus.NOT_FOUND)

    def _answer_error(self, error: DeepseekError) -> None:
        self.answer_json({"error": error.to_dict()}, error.status, retry=isinstance(error, BusyError))
