"""A server that answers rows which it cannot read: `deepseek serve B --encrypted`.

    GET  /v1/encrypted/model      schema, scaling, calibration, parameters: all that an asker needs, and no weight
    POST /v1/encrypted/scores     encrypted inputs -> encrypted margins

It has no key and decrypts nothing. It sees who asks, when, and how many rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from deepseek.bundle import Bundle
from deepseek.contracts import JsonObject
from deepseek.errors import CheckError, DeepseekError, TooLargeError
from deepseek.extras import need
from deepseek.privacy.encrypted.ckks import CipherContext, CkksParameters
from deepseek.privacy.encrypted.linear import LinearForm, linear_form_of
from deepseek.privacy.encrypted.wire import CipherMessage, message_from_bytes, message_to_bytes
from deepseek.privacy.listening import open_server

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

MOST_BYTES_A_COLUMN = 1 << 20


@dataclass(frozen=True, slots=True)
class PublishedModel:
    """The object of GET /v1/encrypted/model."""

    digest: str
    name: str
    preprocess: str
    plan: JsonObject
    parameters: CkksParameters
    task: str
    labels: tuple[str, ...]
    threshold: float | None
    scale: str
    slope: float
    bias: tuple[float, ...]
    smoothing: float


class EncryptedModel:
    """A bundle's weighted sum, and what is published of the bundle."""

    def __init__(self, bundle: Bundle, parameters: CkksParameters | None = None) -> None:
        """InputError for a bundle that cannot answer encrypted rows."""
        need("tenseal", extra="privacy")
        model, self.form = linear_form_of(bundle)
        self.parameters = parameters or CkksParameters()
        self.digest = bundle.digest
        self.published = PublishedModel(
            bundle.digest, bundle.manifest.name, bundle.read("preprocess.json").decode(), asdict(self.form.plan),
            self.parameters, model.task, model.labels, bundle.manifest.threshold, model.scale, model.slope, model.bias,
            model.smoothing,
        )  # fmt: skip
        self._context = CipherContext.public(self.parameters, "")

    def score(self, data: bytes) -> bytes:
        """Encrypted margins of encrypted inputs. IntegrityError, MalformedError, TooLargeError or CheckError for a
        message that is cut, of another model, of other parameters or damaged."""
        request = message_from_bytes(data, most_rows=self.parameters.num_slots)
        form: LinearForm = self.form
        if request.model != self.digest or len(request.columns) != len(form.coef):
            raise CheckError(
                f"the rows were encrypted for the model {request.model[:16]}..., with {len(request.columns)} columns",
                expected=f"{self.digest[:16]}..., with {len(form.coef)}", fix="ask for the model again",
            )  # fmt: skip
        margins = tuple(
            self._context.weighted_sum(request.columns, form.coef[:, place], float(form.bias[place]), request.num_rows)
            for place in range(form.coef.shape[1])
        )
        return message_to_bytes(CipherMessage(request.model, request.key_id, request.num_rows, margins))


def encrypted_app(model: EncryptedModel) -> Starlette:
    """Routes around a model."""
    applications = need("starlette.applications", extra="privacy")
    responses, routing = need("starlette.responses", extra="privacy"), need("starlette.routing", extra="privacy")
    most_bytes = MOST_BYTES_A_COLUMN * (len(model.form.coef) + 1)

    async def publish(_: Request) -> Response:
        response: Response = responses.JSONResponse(asdict(model.published))
        return response

    async def score(request: Request) -> Response:
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > most_bytes:
                raise TooLargeError("the message is too large", expected=f"{most_bytes} bytes", fix="send fewer rows")
            parts.append(part)
        scores = await asyncio.to_thread(model.score, b"".join(parts))
        response: Response = responses.Response(scores, media_type="application/octet-stream")
        return response

    def guard(handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                return await handler(request)
            except DeepseekError as error:
                response: Response = responses.JSONResponse({"error": error.to_dict()}, error.status)
                return response

        return answer

    app: Starlette = applications.Starlette(
        routes=[
            routing.Route("/v1/encrypted/model", guard(publish), methods=["GET"]),
            routing.Route("/v1/encrypted/scores", guard(score), methods=["POST"]),
        ]
    )
    return app


async def serve_encrypted(model: EncryptedModel, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Answer until the process is stopped. InputError where the address is taken."""
    uvicorn = need("uvicorn", extra="privacy")
    config = uvicorn.Config(
        encrypted_app(model), host=host, port=port, log_level="critical", access_log=False, lifespan="off",
        server_header=False,
    )  # fmt: skip
    server = uvicorn.Server(config)
    async with open_server(server):
        announce(f"http://{host}:{server.servers[0].sockets[0].getsockname()[1]}")
        while not server.should_exit:
            await asyncio.sleep(0.1)
