"""OpenAI's routes: POST /v1/completions, /v1/chat/completions and /v1/embeddings. "model" in the body says which.

The first two are for models that write (generation.py), the last for text models that embed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from deepseek.errors import InputError, MissingError
from deepseek.plugins import did_you_mean
from deepseek.serve.core.bodies.offload import offload
from deepseek.serve.core.json_body import decode_object
from deepseek.serve.core.request import Request, Response, StreamingResponse
from deepseek.serve.models.registry import ModelRegistry
from deepseek.serve.openai.embeddings import encode_embeddings, parse_embeddings
from deepseek.serve.openai.params import read_model_name

if TYPE_CHECKING:
    from deepseek.serve.models.text import TextAdapter
    from deepseek.serve.openai.generation import GenerativeModel


async def complete_text(
    call: Request, writers: Mapping[str, GenerativeModel], kind: Literal["completion", "chat"]
) -> Response | StreamingResponse:
    """POST /v1/completions, /v1/chat/completions"""
    call.check_media_type()
    body = await offload(len(call.body), decode_object, call.body)
    name = read_model_name(body)
    writer = writers.get(name)
    if writer is None:
        raise _missing_model_error(name, list(writers), "writes text")
    call.model = writer
    return await writer.complete(call, body, kind)


async def embed_texts(call: Request, models: ModelRegistry) -> Response:
    """POST /v1/embeddings"""
    call.check_media_type()
    body = await offload(len(call.body), decode_object, call.body)
    name = read_model_name(body)
    able = [model.name for model in models.values() if model.task == "embedding"]
    if name not in able:
        raise _missing_model_error(name, able, "embeds texts")
    model = models.pick(name, call)
    call.model = model
    face: TextAdapter = model.face  # type: ignore[assignment]
    read = partial(parse_embeddings, body, size=face.model.size, vocab_size=face.model.architecture.vocab_size)
    request = await offload(len(call.body), read)
    if len(request) > call.settings.max_rows:
        raise InputError(
            f"input has {len(request)} texts", expected=f"at most {call.settings.max_rows}", fix="send them in parts"
        )
    if request.tokens:
        tokens = await offload(len(call.body), face.from_ids, request.tokens)
        prepared, prediction = await model.compute(call, tokens)
    else:
        prepared, prediction = await model.predict(call, [{"text": text} for text in request.texts])
    vectors: Any = prediction.embeddings
    num_tokens = int(prepared.features.lengths.sum())
    return Response(await model.offload(20 * len(request), encode_embeddings, request, vectors, num_tokens))


def _missing_model_error(name: str, able: list[str], what: str) -> MissingError:
    return MissingError(
        f"there is no model {name[:100]!r} that {what}.{did_you_mean(name[:100], able)}",
        expected=", ".join(able) or f"no model that {what} is loaded",
        fix="GET /v1/models lists the models and their tasks",
    )
