"""OpenAI's routes: POST /v1/completions, /v1/chat/completions and /v1/embeddings. "model" in the body says which.

The first two are for generative models (generation.py), the last for text models that embed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from deepseek.errors import InputError, MissingError
from deepseek.plugins import did_you_mean
from deepseek.serve.core.bodies.offload import offload
from deepseek.serve.core.json_body import decode_object
from deepseek.serve.core.request import Request, Response
from deepseek.serve.models.registry import ModelRegistry
from deepseek.serve.openai.embeddings import encode_embeddings, parse_embeddings
from deepseek.serve.openai.params import Params

if TYPE_CHECKING:
    from deepseek.serve.models.text import TextAdapter
    from deepseek.serve.openai.writers import CompletionKind, WritingModel


COMPLETION_ROUTES: dict[str, CompletionKind] = {"/v1/completions": "completion", "/v1/chat/completions": "chat"}


async def complete_text(request: Request, generators: Mapping[str, WritingModel], kind: CompletionKind) -> Response:
    """POST /v1/completions, /v1/chat/completions"""
    request.check_media_type()
    params = Params(await offload(len(request.body), decode_object, request.body))
    name = params.model_name
    generator = generators.get(name)
    if generator is None:
        raise _missing_model_error(name, list(generators), "writes text")
    request.model = generator
    return await generator.complete(request, params, kind)


async def embed_texts(request: Request, models: ModelRegistry) -> Response:
    """POST /v1/embeddings"""
    request.check_media_type()
    params = Params(await offload(len(request.body), decode_object, request.body))
    name = params.model_name
    able = [model.name for model in models.values() if model.task == "embedding"]
    if name not in able:
        raise _missing_model_error(name, able, "embeds texts")
    model = models.pick(name, request)
    request.model = model
    adapter: TextAdapter = model.adapter  # type: ignore[assignment]
    read = partial(parse_embeddings, params, size=adapter.model.size, vocab_size=adapter.model.architecture.vocab_size)
    embedding_request = await offload(len(request.body), read)
    if len(embedding_request) > request.settings.max_rows:
        raise InputError(
            f"input has {len(embedding_request)} texts",
            expected=f"at most {request.settings.max_rows}",
            fix="send them in parts",
        )
    if embedding_request.tokens:
        tokens = await offload(len(request.body), adapter.from_ids, embedding_request.tokens)
        prepared, prediction = await model.compute(request, tokens)
    else:
        prepared, prediction = await model.predict(request, [{"text": text} for text in embedding_request.texts])
    vectors: Any = prediction.embeddings
    num_tokens = int(prepared.features.lengths.sum())
    return Response(
        await model.offload(20 * len(embedding_request), encode_embeddings, embedding_request, vectors, num_tokens)
    )


def _missing_model_error(name: str, able: list[str], ability: str) -> MissingError:
    return MissingError(
        f"there is no model {name[:100]!r} that {ability}.{did_you_mean(name[:100], able)}",
        expected=", ".join(able) or f"no model that {ability} is loaded",
        fix="GET /v1/models lists the models and their tasks",
    )
