"""OpenAI's routes in the OpenAPI document: embeddings, completions and chats, their streams included.

text_paths(["embedder"], ["tiny"])["/v1/completions"]["post"]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deepseek.serve.openapi.parts import NUMBER, TEXT, Schema, array, object_of, post_of

WHOLE: Schema = {"type": "integer"}
COUNT: Schema = {"type": "integer", "minimum": 1}
SWITCH: Schema = {"type": "boolean"}
MAX_PARTS = 64  # of a list in a request: prompts, answers
STREAM = """With "stream": true the answer is server-sent events: lines "data: {...}", each followed by an empty line,
one object for the text of one step, and at the end "data: [DONE]". With "stream_options": {"include_usage": true} the
last object has "usage" and no choices. An error after the beginning is an event with "error"."""
#: Of each event of a stream.
EVENT = object_of({"data": TEXT}) | {"description": "one event; data is [DONE], or JSON: a piece, or an error"}
#: What both routes that write take. Others of OpenAI's are refused by name, or taken where they change no answer.
SHARED: dict[str, Schema] = {
    "max_tokens": COUNT,
    "n": COUNT | {"maximum": MAX_PARTS},
    "temperature": {"type": "number", "minimum": 0, "maximum": 2},
    "top_p": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    "top_k": WHOLE | {"minimum": -1},
    "seed": WHOLE | {"minimum": -(2**63) + 1, "maximum": 2**63 - 1},
    "stop": {"oneOf": [TEXT | {"minLength": 1}, array(TEXT | {"minLength": 1}) | {"maxItems": 16}]},
    "frequency_penalty": {"type": "number", "minimum": -2, "maximum": 2},
    "presence_penalty": {"type": "number", "minimum": -2, "maximum": 2},
    "stream": SWITCH,
    "stream_options": {"type": "object", "properties": {"include_usage": SWITCH}, "additionalProperties": False},
    "ignore_eos": SWITCH,
    "user": TEXT,
}


def text_paths(embedders: Sequence[str], writers: Sequence[str]) -> dict[str, Any]:
    """The routes for the models that embed texts, and for those that write."""
    found: dict[str, Any] = {}
    if embedders:
        found["/v1/embeddings"] = _embeddings(embedders)
    if writers:
        found["/v1/completions"] = _completions(writers)
        found["/v1/chat/completions"] = _chats(writers)
    return found


def _embeddings(names: Sequence[str]) -> dict[str, Any]:
    request = {
        "type": "object",
        "properties": {
            "model": {"type": "string", "enum": list(names)},
            "input": {"oneOf": [TEXT, array(TEXT) | {"minItems": 1}, _tokens(), array(_tokens()) | {"minItems": 1}]},
            "dimensions": COUNT,
            "encoding_format": {"type": "string", "enum": ["float", "base64"]},
        },
        "required": ["model", "input"],
        "additionalProperties": False,
    }
    answer = object_of({"object": TEXT, "data": array(object_of({"index": NUMBER})), "model": TEXT})
    return post_of("Embeddings, as OpenAI's route", request, answer, {"model": names[0], "input": ["a text"]})


def _completions(names: Sequence[str]) -> dict[str, Any]:
    lists = {"minItems": 1, "maxItems": MAX_PARTS}
    request = _request(
        names,
        "model",
        {
            "prompt": {"oneOf": [TEXT, array(TEXT) | lists, _tokens(), array(_tokens()) | lists]},
            "echo": SWITCH,
            "logprobs": {"type": "integer", "minimum": 0, "maximum": 1},
        },
    )
    logprobs = object_of({"tokens": array(TEXT), "token_logprobs": array(NUMBER), "text_offset": array(WHOLE)})
    choice = object_of({"text": TEXT} | _choice(logprobs))
    return _writing(
        "Text that goes on from a prompt", request, "text_completion", choice, {"prompt": "To be, or"}, names
    )


def _chats(names: Sequence[str]) -> dict[str, Any]:
    part = object_of({"type": {"type": "string", "enum": ["text"]}, "text": TEXT})
    message = {
        "type": "object",
        "properties": {
            "role": {"type": "string", "enum": ["system", "developer", "user", "assistant"]},
            "content": {"oneOf": [TEXT, array(part)]},
            "name": TEXT,
        },
        "required": ["role", "content"],
        "additionalProperties": False,
    }
    request = _request(
        names,
        "messages",
        {
            "messages": array(message) | {"minItems": 1},
            "max_completion_tokens": COUNT,
            "logprobs": SWITCH,
            "top_logprobs": {"type": "integer", "minimum": 0, "maximum": 1},
        },
    )
    entry = object_of({"token": TEXT, "logprob": NUMBER, "bytes": array(WHOLE)})
    said = object_of({"role": TEXT, "content": TEXT})
    choice = object_of({"message": said} | _choice(object_of({"content": array(entry)})))
    example = {"messages": [{"role": "user", "content": "Who's there?"}]}
    return _writing("The next message of a chat", request, "chat.completion", choice, example, names)


def _request(names: Sequence[str], needed: str, more: dict[str, Schema]) -> Schema:
    return {
        "type": "object",
        "properties": {"model": {"type": "string", "enum": list(names)}}
        | more
        | SHARED
        | {"response_format": _format()},
        "required": sorted({"model", needed}),
        "additionalProperties": False,
    }


def _format() -> Schema:
    """Free text, any JSON object, or JSON of a schema."""
    plain: dict[str, Schema] = {"type": {"type": "string", "enum": ["text", "json_object"]}}
    holder: Schema = {"name": TEXT, "schema": {"type": "object"}, "strict": SWITCH}
    schema: Schema = {"type": "object", "properties": holder, "required": ["schema"]}
    held: dict[str, Schema] = {"type": {"type": "string", "enum": ["json_schema"]}, "json_schema": schema}
    return {"oneOf": [object_of(plain), object_of(held)]}


def _tokens() -> Schema:
    return array(WHOLE | {"minimum": 0}) | {"minItems": 1}


def _choice(logprobs: Schema) -> dict[str, Schema]:
    finish = {"type": "string", "enum": ["stop", "length"]}
    return {"index": WHOLE, "logprobs": {"oneOf": [logprobs, {"type": "null"}]}, "finish_reason": finish}


def _writing(
    summary: str, request: Schema, name: str, choice: Schema, example: dict[str, Any], names: Sequence[str]
) -> dict[str, Any]:
    usage = object_of(dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), WHOLE))
    answer: dict[str, Schema] = {
        "id": TEXT,
        "object": {"type": "string", "enum": [name]},
        "created": WHOLE,
        "model": TEXT,
    }
    whole = object_of(answer | {"choices": array(choice), "usage": usage})
    path = post_of(summary, request, whole, {"model": names[0]} | example | {"max_tokens": 16})
    path["post"]["description"] = STREAM
    path["post"]["responses"]["200"]["content"]["text/event-stream"] = {"schema": EVENT}
    return path
