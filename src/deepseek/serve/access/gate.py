"""Access checks before a request is handled: its host name, its origin, and whether it may change what is served.

    gate = AccessPolicy(settings)
    policy.check(request, route)             # MisdirectedHostError 421, ForeignOriginError 403, MediaTypeError 415,
    KeyRequiredError 403

A page of any site may let a browser send a form or an empty POST to a server of this machine; it cannot send JSON,
which the browser asks for first, nor leave out the headers by which a browser is known. So what changes something is
sent as JSON, or without a content type by what is no browser, such as tritonclient.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.http_errors import ForeignOriginError, KeyRequiredError, MediaTypeError, MisdirectedHostError
from deepseek.serve.core.hosts import AllowedHosts, is_loopback

if TYPE_CHECKING:
    from deepseek.serve.core.config import Settings
    from deepseek.serve.core.request import Request
    from deepseek.serve.core.routes import Route

_JSON = b"application/json"
#: Headers of browsers that pages cannot leave out; every POST has at least one of them.
_BROWSER_HEADERS = frozenset([b"origin", b"referer", b"sec-fetch-site", b"sec-fetch-mode", b"cookie"])


class AccessPolicy:
    """The access checks of one server."""

    def __init__(self, settings: Settings) -> None:
        self._hosts = AllowedHosts.of(settings)
        #: Whether loading and unloading is allowed: with API keys, or reachable from this machine alone.
        self._may_change = bool(settings.api_keys_file) or is_loopback(settings.host)
        self._host = settings.host

    def check(self, request: Request, route: Route | None) -> None:
        """Raise why a request is refused. One without the header Host does not come from a browser."""
        host = request.headers.get(b"host")
        if host is not None:
            if not (route is not None and route.any_host) and not self._hosts.allows(host):
                raise MisdirectedHostError(host)
            self._check_page(request, host)
        if route is not None and route.changes:
            self._check_change(request)

    def _check_page(self, request: Request, host: bytes) -> None:
        """OriginError for a request from a page of another origin."""
        origin = request.headers.get(b"origin")
        if origin is None:
            if request.headers.get(b"sec-fetch-site") == b"cross-site" and request.method not in ("GET", "HEAD"):
                raise ForeignOriginError(b"another site")
            return
        scheme, _, netloc = origin.partition(b"://")
        port = {b"http": b":80", b"https": b":443"}.get(scheme, b"")
        is_own = bool(netloc) and netloc.lower().removesuffix(port) == host.strip().lower().removesuffix(port)
        if not is_own and not (netloc and self._hosts.lists(netloc)):
            raise ForeignOriginError(origin)

    def _check_change(self, request: Request) -> None:
        if not self._may_change:
            raise KeyRequiredError(self._host)
        media = request.headers.get(b"content-type")
        if media is None and _BROWSER_HEADERS.isdisjoint(request.headers):
            return
        if media is None or media.split(b";")[0].strip().lower() != _JSON:
            shown = "missing" if media is None else repr(media[:80].decode("latin-1"))
            raise MediaTypeError(
                f"content-type is {shown}, and the request changes what is served",
                expected="application/json, which the form of a web page cannot send",
                fix="curl -X POST -H 'content-type: application/json' ...",
            )
