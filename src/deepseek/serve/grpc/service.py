"""The methods of GRPCInferenceService and of grpc.health.v1.Health.

Bodies come and go as bytes: what does not parse is refused by us, with words, before it is anything else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import msgspec
from google.protobuf.message import DecodeError

from deepseek.errors import DeepseekError, MalformedError, TooLargeError
from deepseek.serve.app import App
from deepseek.serve.core.bodies.offload import INLINE_BYTES, offload
from deepseek.serve.core.bodies.wire import check_message
from deepseek.serve.core.errors import body_too_large_error
from deepseek.serve.core.request import Request
from deepseek.serve.grpc import messages
from deepseek.serve.grpc.calls import HttpTarget, MessageHandler, RpcContext, RpcResult, handle_rpc
from deepseek.serve.grpc.infer import check_version, infer
from deepseek.serve.models.registry import ServedModel
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
    """Answers remote calls out of an application."""

    def __init__(self, app: App) -> None:
        self._app = app

    def handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        """What a gRPC server is given."""
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
        outcome = await self._through("ServerLive", _LIVE, context)
        return _serialize(messages.ServerLiveResponse(live=outcome.status == 200))

    async def _server_ready(self, body: bytes, context: RpcContext) -> bytes:
        outcome = await self._through("ServerReady", _READY, context)
        return _serialize(messages.ServerReadyResponse(ready=outcome.status == 200))

    async def _model_ready(self, body: bytes, context: RpcContext) -> bytes:
        request = await _parse_message(messages.ModelRequest, body, context)
        outcome = await self._through("ModelReady", _model_target(request, "/ready"), context)
        if outcome.status == 401:
            await _abort(context, outcome)
        return _serialize(messages.ModelReadyResponse(ready=outcome.status == 200))

    async def _server_metadata(self, body: bytes, context: RpcContext) -> bytes:
        made = messages.ServerMetadataResponse(name="deepseek", version=__version__, extensions=EXTENSIONS)
        return await self._told("ServerMetadata", _SERVER, context, made)

    async def _model_metadata(self, body: bytes, context: RpcContext) -> bytes:
        def make(model: ServedModel) -> Any:
            return messages.ModelMetadataResponse(
                name=model.name, versions=list(self._app.models.slots[model.name].versions),
                platform=platform_name(model), inputs=input_metadata(model), outputs=output_metadata(model),
            )  # fmt: skip

        return await self._of_model("ModelMetadata", body, context, make)

    async def _model_config(self, body: bytes, context: RpcContext) -> bytes:
        def make(model: ServedModel) -> Any:
            ends = (
                [
                    {"name": end["name"], "data_type": CONFIG_TYPES.get(end["datatype"], 0), "dims": end["shape"]}
                    for end in metadata
                ]
                for metadata in (input_metadata(model), output_metadata(model))
            )
            inputs, outputs = ends
            kind = platform_name(model)
            config = {"name": model.name, "platform": kind, "backend": kind, "input": inputs, "output": outputs}
            return messages.ModelConfigResponse(config=config)

        return await self._of_model("ModelConfig", body, context, make)

    async def _repository_index(self, body: bytes, context: RpcContext) -> bytes:
        request = await _parse_message(messages.RepositoryIndexRequest, body, context)

        async def work(_: Request) -> bytes:
            found = await list_repository(self._app.models, self._app.loader, ready=request.ready)
            return _serialize(messages.RepositoryIndexResponse(models=found))

        outcome = await self._through(
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
        """What the route over HTTP does with the same parameters; the answer says that it is done, no more."""
        request = await _parse_message(messages.RepositoryModelRequest, body, context)
        parameters = {name: _parameter_value(each) for name, each in request.parameters.items()}
        target = HttpTarget("POST", f"{REPOSITORY_PATH}/models/{request.model_name}/{verb}")
        body = msgspec.json.encode({"parameters": parameters})
        outcome = await self._through(f"RepositoryModel{verb.title()}", target, context, body)
        if outcome.status != 200:
            await _abort(context, outcome)
        return _serialize(messages.Nothing())

    async def _model_infer(self, body: bytes, context: RpcContext) -> bytes:
        outcome = await self._infer("ModelInfer", body, context)
        if outcome.status != 200:
            await _abort(context, outcome)
        return outcome.body

    async def _model_stream_infer(self, bodies: AsyncIterator[bytes], context: RpcContext) -> AsyncIterator[bytes]:
        """Answers in the order of the requests; what one of them is refused with ends that one alone."""
        waiting: asyncio.Queue[asyncio.Task[bytes] | None] = asyncio.Queue(MAX_STREAM_IN_FLIGHT)
        reader = asyncio.create_task(self._read_stream(bodies, context, waiting))
        try:
            while (task := await waiting.get()) is not None:
                yield await task
            await reader
        finally:
            reader.cancel()
            while not waiting.empty():
                left = waiting.get_nowait()
                if left is not None:
                    left.cancel()

    async def _read_stream(
        self, bodies: AsyncIterator[bytes], context: RpcContext, waiting: asyncio.Queue[asyncio.Task[bytes] | None]
    ) -> None:
        try:
            async for body in bodies:
                await waiting.put(asyncio.create_task(self._streamed(body, context)))
        finally:
            await waiting.put(None)

    async def _streamed(self, body: bytes, context: RpcContext) -> bytes:
        outcome = await self._infer("ModelStreamInfer", body, context)
        if outcome.status != 200:
            return _serialize(messages.ModelStreamInferResponse(error_message=outcome.details))
        # Field 2 of ModelStreamInferResponse, of wire type 2, is the answer as it is: no second copy through objects.
        return b"\x12" + _encode_varint(len(outcome.body)) + outcome.body

    async def _infer(self, name: str, body: bytes, context: RpcContext) -> RpcResult:
        request, error = await offload(len(body), _parse_infer_request, body)

        async def work(call: Request) -> bytes:
            if error is not None:
                raise error
            call.model = model = self._app.models.pick(request.model_name, call, request.model_version)
            return _serialize(await infer(call, model, request))

        # Bytes that are no request are refused as one for any model would be: only after the look at its key.
        target = HttpTarget("POST", f"/v2/models/{request.model_name}/infer") if request is not None else _ANY_MODEL
        return await self._through(name, target, context, body, work)

    async def _check(self, body: bytes, context: RpcContext) -> bytes:
        request = await _parse_message(messages.HealthCheckRequest, body, context)
        if request.service not in ("", SERVICE):
            await context.abort(
                grpc.StatusCode.NOT_FOUND, f"there is no service {request.service[:100]!r}. Expected: {SERVICE}."
            )
        outcome = await self._through("Health", _READY, context)
        return _serialize(messages.HealthCheckResponse(status=1 if outcome.status == 200 else 2))

    async def _told(self, name: str, target: HttpTarget, context: RpcContext, message: Any) -> bytes:
        """A message that is the same for everybody who may ask."""
        outcome = await self._through(name, target, context)
        if outcome.status != 200:
            await _abort(context, outcome)
        return _serialize(message)

    async def _of_model(self, name: str, body: bytes, context: RpcContext, make: Callable[[ServedModel], Any]) -> bytes:
        """A message about one model."""
        request = await _parse_message(messages.ModelRequest, body, context)

        async def work(call: Request) -> bytes:
            call.model = model = self._app.models.pick(request.name, call, request.version)
            check_version(model, request.version)
            return _serialize(make(model))

        outcome = await self._through(name, HttpTarget("GET", f"/v2/models/{request.name}"), context, b"", work)
        if outcome.status != 200:
            await _abort(context, outcome)
        return outcome.body

    async def _through(
        self, name: str, target: HttpTarget, context: RpcContext, body: bytes = b"", work: MessageHandler | None = None
    ) -> RpcResult:
        return await handle_rpc(self._app, name, target, context, body, work)


_ANY_MODEL = HttpTarget("GET", "/v1/models")


def _model_target(request: Any, rest: str) -> HttpTarget:
    version = f"/versions/{request.version}" if request.version else ""
    return HttpTarget("GET", f"/v2/models/{request.name}{version}{rest}")


def _parameter_value(parameter: Any) -> Any:
    """What a parameter says; bytes, of which none mean anything here, are left out."""
    kind = parameter.WhichOneof("choice")
    return None if kind in (None, "bytes_param") else getattr(parameter, kind)


def _serialize(message: Any) -> bytes:
    found: bytes = message.SerializeToString()
    return found


def _parse_infer_request(body: bytes) -> tuple[Any, DeepseekError | None]:
    """The message, or what is wrong with it."""
    try:
        if len(body) > INLINE_BYTES:
            check_message(body)
        return messages.ModelInferRequest.FromString(body), None
    except DecodeError:
        return None, _malformed_error()
    except TooLargeError as error:
        return None, error


async def _parse_message(kind: Any, body: bytes, context: RpcContext) -> Any:
    """A message that has no tensors."""
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

    >>> _varint(5), _varint(300)
    (b'\\x05', b'\\xac\\x02')
    """
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)
