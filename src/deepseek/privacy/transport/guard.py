"""What stands before every handler of a study's server: the size of a request and the signature on it.

guard = RequestGuard(study, MOST_BYTES, check_sender=check, count_refusal=count)
Route("/v1/status", guard.wrap(handler))        # handler(request, message), of a message that was checked
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deepseek.errors import DeepseekError, TooLargeError
from deepseek.extras import need
from deepseek.privacy.study.definition import Study
from deepseek.privacy.transport.messages import SignedMessage, check_request

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


@dataclass(frozen=True, slots=True)
class RequestGuard:
    """Lets requests pass that a party of the study has signed."""

    study: Study
    most_bytes: int  # of a body
    check_sender: Callable[[str], None]  # takes the party's name; raises for one that may not ask here
    count_refusal: Callable[[], None]

    def wrap(
        self, handler: Callable[[Request, SignedMessage], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """The handler behind the checks; an error becomes its body."""
        responses = need("starlette.responses", extra="privacy")

        async def answer(request: Request) -> Response:
            try:
                body = await read_body(request, self.most_bytes)
                path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
                message = check_request(self.study, request.headers, request.method, path, body)
                self.check_sender(message.party)
                return await handler(request, message)
            except DeepseekError as error:
                self.count_refusal()
                response: Response = responses.JSONResponse({"error": error.to_dict()}, error.status)
                return response

        return answer


async def read_body(request: Request, most_bytes: int) -> bytes:
    """The body of a request. TooLargeError before more than most_bytes are read."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most_bytes:
            raise TooLargeError("the message is too large", expected=f"{most_bytes} bytes", fix="send less")
        parts.append(part)
    return b"".join(parts)
