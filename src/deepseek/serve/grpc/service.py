"""The methods of GRPCInferenceService and of grpc.health.v1.Health.

Messages come and go as bytes: one that does not parse is refused here, with a sentence, before anything else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import grpc
import msgspec
from google.protobuf.message import DecodeError

from deepseek.contracts import JsonObject
from deepseek.errors import DeepseekError, MalformedError, TooLargeError
from deepseek.serve.app import App
from deepseek.serve.core.bodies.offload import INLINE_BYTES, offload
from deepseek.serve.core.bodies.wire import check_message
from deepseek.serve.core.errors import body_too_large_error
from deepseek.serve.core.request import Request
from deepseek.serve.grpc import messages
from deepseek.serve.grpc.calls import HttpTarget, MessageHandler, RpcContext, RpcResult, handle_rpc
from deepseek.serve.grpc.infer import check_version, infer
from deepseek.serve.models.served_model import ServedModel
from deepseek.serve.protocols.graph_rows import platform_name
from deepseek.serve.protocols.oip import EXTENSIONS
from deepseek.serve.protocols.tensor_rows import input_metadata, output_metadata
from deepseek.serve.repository.protocol import list_repository
from deepseek.version import __version__

SERVICE = "inference.GRPCInferenceService"
HEALTH = "grpc.health.v1.Health"
#: Requests of one stream that are in work at a time; answers come in the order of the requests.
MAX_STREAM_IN_FLIGHT = 8
#: Datatype -> number in a model's configuration; text is TYPE_STRING there.
_CONFIG_DATATYPES = (
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES",
)  # fmt: skip
CONFIG_TYPES = {datatype: number for number, datatype in enumerate(_CONFIG_DATATYPES, 1)}
_LIVE = HttpTarget("GET", "/v2/health/live")
_READY = HttpTarget("GET", "/v2/health/ready")
_SERVER = HttpTarget("GET", "/v2")
REPOSITORY_PATH = "/v2/repository"
RpcMethod = Callable[[bytes, RpcContext], Awaitable[bytes]]


class InferenceService:
    """Answers remote calls through an application."""

    def __init__(self, app: App) -> None:
        self._app = app

    def handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        """The method handlers for a gRPC server."""
        methods: dict[str, RpcMethod] = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
            "ModelConfig": self._model_config,
            "ModelInfer": self._model_infer,
            "RepositoryIndex": self._repository_index,
            "RepositoryModelLoad": self._repository_model_load,
            "RepositoryModelUnload": self._repository_model_unload,
        }
        handlers = {name: grpc.unary_unary_rpc_method_handler(method) for name, method in methods.items()}
        handlers["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(self._model_stream_infer)
        health = {"Check": grpc.unary_unary_rpc_method_handler(self._check)}
        return (
            grpc.method_handlers_generic_handler(SERVICE, handlers),
            grpc.method_handlers_generic_handler(HEALTH, health),
        )

    async def _server_live(self, body: bytes, context: RpcContext) -> bytes:
        outcome = await self._handle("ServerLive", _LIVE, context)
        return _serialize(messages.ServerLiveResponse(live=outcome.status == 200))

    async def _server_ready(self, body: bytes, context: RpcContext) -> bytes:
        outcome = await self._handle("ServerReady", _READY, context)
        return _serialize(messages.ServerReadyResponse(ready=outcome.status == 200))

    async def _model_ready(self, body: bytes, context: RpcContext) -> bytes:
        message = await _parse_message(messages.ModelRequest, body, context)
        outcome = await self._handle("ModelReady", _model_target(message, "/ready"), context)
        if outcome.status == 401:
            await _abort(context, outcome)
        return _serialize(messages.ModelReadyResponse(ready=outcome.status == 200))

    async def _server_metadata(self, body: bytes, context: RpcContext) -> bytes:
        message = messages.ServerMetadataResponse(name="deepseek", version=__version__, extensions=EXTENSIONS)
        return await self._respond_constant("ServerMetadata", _SERVER, context, message)

    async def _model_metadata(self, body: bytes, context: RpcContext) -> bytes:
        def make(model: ServedModel) -> Any:
            return messages.ModelMetadataResponse(
                name=model.name, versions=list(self._app.models.slots[model.name].versions),
                platform=platform_name(model), inputs=_to_dicts(input_metadata(model)),
                outputs=_to_dicts(output_metadata(model)),
            )  # fmt: skip

        return await self._respond_about_model("ModelMetadata", body, context, make)

    async def _model_config(self, body: bytes, context: RpcContext) -> bytes:
        def make(model: ServedModel) -> Any:
            ends = (
                [
                    {"name": end.name, "data_type": CONFIG_TYPES.get(end.datatype, 0), "dims": end.shape}
                    for end in metadata
                ]
                for metadata in (input_metadata(model), output_metadata(model))
            )
            inputs, outputs = ends
            kind = platform_name(model)
            config = {"name": model.name, "platform": kind, "backend": kind, "input": inputs, "output": outputs}
            return messages.ModelConfigResponse(config=config)

        return await self._respond_about_model("ModelConfig", body, context, make)

    async def _repository_index(self, body: bytes, context: RpcContext) -> bytes:
        message = await _parse_message(messages.RepositoryIndexRequest, body, context)

        async def work(_: Request) -> bytes:
            entries = await list_repository(self._app.models, self._app.loader, ready=message.ready)
            # the fields of the Open Inference Protocol alone: it knows no code
            models = [
                {"name": entry.name, "version": entry.version, "state": entry.state, "reason": entry.reason}
                for entry in entries
            ]
            return _serialize(messages.RepositoryIndexResponse(models=models))

        outcome = await self._handle(
            "RepositoryIndex", HttpTarget("POST", f"{REPOSITORY_PATH}/index"), context, b"", work
        )
        if outcome.status != 200:
            await _abort(context, outcome)
        return outcome.body

    async def _repository_model_load(self, body: bytes, context: RpcContext) -> bytes:
        return await self._manage("load", body, context)

    async def _repository_model_unload(self, body: bytes, context: RpcContext) -> bytes:
        return await self._manage("unload", body, context)

    async def _manage(self, verb: str, body: bytes, context: RpcContext) -> bytes:
        """Load or unload through the HTTP route, with the same parameters. The response message is empty."""
        message = await _parse_message(messages.RepositoryModelRequest, body, context)
        parameters = {name: _parameter_value(each) for name, each in message.parameters.items()}
        target = HttpTarget("POST", f"{REPOSITORY_PATH}/models/{message.model_name}/{verb}")
        body = msgspec.json.encode({"parameters": parameters})
        outcome = await self._handle(f"RepositoryModel{verb.title()}", target, context, body)
        if outcome.status != 200:
            await _abort(context, outcome)
        return _serialize(messages.Nothing())

    async def _model_infer(self, body: bytes, context: RpcContext) -> bytes:
        outcome = await self._infer("ModelInfer", body, context)
        if outcome.status != 200:
            await _abort(context, outcome)
        return outcome.body

    async def _model_stream_infer(self, bodies: AsyncIterator[bytes], context: RpcContext) -> AsyncIterator[bytes]:
        """Responses in the order of the requests; an error ends its own request alone."""
        pending: asyncio.Queue[asyncio.Task[bytes] | None] = asyncio.Queue(MAX_STREAM_IN_FLIGHT)
        reader = asyncio.create_task(self._read_stream(bodies, context, pending))
        try:
            while (task := await pending.get()) is not None:
                yield await task
            await reader
        finally:
            reader.cancel()
            while not pending.empty():
                unread = pending.get_nowait()
                if unread is not None:
                    unread.cancel()

    async def _read_stream(
        self, bodies: AsyncIterator[bytes], context: RpcContext, pending: asyncio.Queue[asyncio.Task[bytes] | None]
    ) -> None:
        try:
            async for body in bodies:
                await pending.put(asyncio.create_task(self._infer_streamed(body, context)))
        finally:
            await pending.put(None)

    async def _infer_streamed(self, body: bytes, context: RpcContext) -> bytes:
        outcome = await self._infer("ModelStreamInfer", body, context)
        if outcome.status != 200:
            return _serialize(messages.ModelStreamInferResponse(error_message=outcome.details))
        # Field 2 of ModelStreamInferResponse, of wire type 2, is the response message: no second copy through objects.
        return b"\x12" + _encode_varint(len(outcome.body)) + outcome.body

    async def _infer(self, name: str, body: bytes, context: RpcContext) -> RpcResult:
        message, error = await offload(len(body), _parse_infer_request, body)

        async def work(request: Request) -> bytes:
            if error is not None:
                raise error
            request.model = model = self._app.models.pick(message.model_name, request, message.model_version)
            return _serialize(await infer(request, model, message))

        # Bytes that do not parse are refused like a request to any model: only after its key was checked.
        target = HttpTarget("POST", f"/v2/models/{message.model_name}/infer") if message is not None else _ANY_MODEL
        return await self._handle(name, target, context, body, work)

    async def _check(self, body: bytes, context: RpcContext) -> bytes:
        message = await _parse_message(messages.HealthCheckRequest, body, context)
        if message.service not in ("", SERVICE):
            await context.abort(
                grpc.StatusCode.NOT_FOUND, f"there is no service {message.service[:100]!r}. Expected: {SERVICE}."
            )
        outcome = await self._handle("Health", _READY, context)
        return _serialize(messages.HealthCheckResponse(status=1 if outcome.status == 200 else 2))

    async def _respond_constant(self, name: str, target: HttpTarget, context: RpcContext, message: Any) -> bytes:
        """A message that is the same for every admitted request."""
        outcome = await self._handle(name, target, context)
        if outcome.status != 200:
            await _abort(context, outcome)
        return _serialize(message)

    async def _respond_about_model(
        self, name: str, body: bytes, context: RpcContext, make: Callable[[ServedModel], Any]
    ) -> bytes:
        """A message about one model."""
        message = await _parse_message(messages.ModelRequest, body, context)

        async def work(request: Request) -> bytes:
            request.model = model = self._app.models.pick(message.name, request, message.version)
            check_version(model, message.version)
            return _serialize(make(model))

        outcome = await self._handle(name, HttpTarget("GET", f"/v2/models/{message.name}"), context, b"", work)
        if outcome.status != 200:
            await _abort(context, outcome)
        return outcome.body

    async def _handle(
        self, name: str, target: HttpTarget, context: RpcContext, body: bytes = b"", work: MessageHandler | None = None
    ) -> RpcResult:
        return await handle_rpc(self._app, name, target, context, body, work)


_ANY_MODEL = HttpTarget("GET", "/v1/models")


def _model_target(message: Any, rest: str) -> HttpTarget:
    version = f"/versions/{message.version}" if message.version else ""
    return HttpTarget("GET", f"/v2/models/{message.name}{version}{rest}")


def _to_dicts(records: Iterable[msgspec.Struct]) -> list[JsonObject]:
    """Records as protobuf takes them for its messages."""
    return [msgspec.structs.asdict(record) for record in records]


def _parameter_value(parameter: Any) -> Any:
    """The value of a parameter; None for bytes, which have no meaning here."""
    kind = parameter.WhichOneof("choice")
    return None if kind in (None, "bytes_param") else getattr(parameter, kind)


def _serialize(message: Any) -> bytes:
    data: bytes = message.SerializeToString()
    return data


def _parse_infer_request(body: bytes) -> tuple[Any, DeepseekError | None]:
    """The parsed message, or the error why it is refused."""
    try:
        if len(body) > INLINE_BYTES:
            check_message(body)
        return messages.ModelInferRequest.FromString(body), None
    except DecodeError:
        return None, _malformed_error()
    except TooLargeError as error:
        return None, error


async def _parse_message(kind: Any, body: bytes, context: RpcContext) -> Any:
    """A parsed message without tensors. Aborts the call when it is too large or does not parse."""
    if len(body) > INLINE_BYTES:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(body_too_large_error(INLINE_BYTES)))
    try:
        return kind.FromString(body)
    except DecodeError:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(_malformed_error()))


def _malformed_error() -> MalformedError:
    return MalformedError(
        "the message does not parse",
        expected="a message of the Open Inference Protocol, version 2",
        fix="make it with the protocol's own classes, such as those of tritonclient.grpc",
    )


async def _abort(context: RpcContext, outcome: RpcResult) -> None:
    await context.abort(outcome.code, outcome.details)


def _encode_varint(number: int) -> bytes:
    """A length as protobuf writes it: 7 bits a byte, the lowest first.

    >>> _encode_varint(5), _encode_varint(300)
    (b'\\x05', b'\\xac\\x02')
    """
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
