"""POST /v1/embeddings: its request, parsed strictly, and its response.

    request = parse_embeddings(Params(decode_object(body)), size=384, vocab_size=30522)
    embeddings(request, vectors, num_tokens)

Source: https://platform.openai.com/docs/api-reference, "Create embeddings" and the object "embedding".
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np

from deepseek.contracts import Float32
from deepseek.errors import DeepseekError, InputError
from deepseek.serve.core.json_body import encode_json
from deepseek.serve.core.json_numbers import encode_floats
from deepseek.serve.openai.params import ParamError, Params, check_tokens, describe_value

MAX_TEXTS = 2_048  # of one request


@dataclass(frozen=True, slots=True)
class EmbeddingsRequest:
    """A request for embeddings: texts, or tokens in their place."""

    model: str
    texts: tuple[str, ...] = ()
    tokens: tuple[tuple[int, ...], ...] = ()  # in place of texts
    as_base64: bool = False
    dimensions: int | None = None
    ignored: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.texts) or len(self.tokens)


def parse_embeddings(params: Params, *, size: int, vocab_size: int) -> EmbeddingsRequest:
    """The body of POST /v1/embeddings, for a model whose vectors have `size` numbers."""
    params.check(frozenset(["model", "input", "encoding_format", "dimensions"]))
    texts: tuple[str, ...] = ()
    tokens: tuple[tuple[int, ...], ...] = ()
    text_input = params.get("input")
    if isinstance(text_input, str):
        texts = (text_input,)
    elif isinstance(text_input, list) and text_input and all(isinstance(item, str) for item in text_input):
        texts = tuple(text_input)
    elif isinstance(text_input, list) and text_input and all(type(item) is int for item in text_input):
        tokens = (tuple(text_input),)
    elif isinstance(text_input, list) and text_input and all(isinstance(item, list) and item for item in text_input):
        tokens = tuple(map(tuple, text_input))
    else:
        raise ParamError(
            "input", f"input is {describe_value(text_input)}", expected="a text, texts, or the tokens of one or more"
        )
    if len(texts or tokens) > MAX_TEXTS:
        raise ParamError("input", f"input has {len(text_input)} texts", expected=f"at most {MAX_TEXTS}")
    for row in tokens:
        check_tokens("input", row, vocab_size)
    form = params.get("encoding_format", "float")
    if form not in ("float", "base64"):
        raise ParamError(
            "encoding_format", f"encoding_format is {describe_value(form)}", expected='"float" or "base64"'
        )
    dimensions = params.read("dimensions", int, None)
    if dimensions is not None and not 1 <= dimensions <= size:
        raise ParamError("dimensions", f"dimensions is {dimensions}", expected=f"1 to {size}")
    return EmbeddingsRequest(
        params.model_name, texts, tokens, as_base64=form == "base64", dimensions=dimensions, ignored=params.ignored
    )


def encode_embeddings(request: EmbeddingsRequest, vectors: Float32, num_tokens: int) -> bytes:
    """The response with one vector per text: `vectors` (N, D), cut to the dimensions asked for and then of length 1.

    `num_tokens` counts those of all texts.
    """
    if len(vectors) != len(request):
        raise DeepseekError(f"{len(vectors)} vectors for {len(request)} texts", expected="one each", fix="report this")
    if request.dimensions is not None and request.dimensions < vectors.shape[1]:
        vectors = vectors[:, : request.dimensions]
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
    if not np.isfinite(vectors).all():
        raise InputError("a vector is not finite", expected="numbers", fix="shorten the text, or tell the operator")
    rows = np.ascontiguousarray(vectors, dtype="<f4")
    data = [
        {
            "object": "embedding", "index": index,
            "embedding": base64.b64encode(row.tobytes()).decode() if request.as_base64 else encode_floats(row),
        }
        for index, row in enumerate(rows)
    ]  # fmt: skip
    ignored = {"ignored": list(request.ignored)} if request.ignored else {}
    usage = {"prompt_tokens": num_tokens, "total_tokens": num_tokens}
    return encode_json({"object": "list", "data": data, "model": request.model, "usage": usage, **ignored})
