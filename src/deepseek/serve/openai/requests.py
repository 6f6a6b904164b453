"""Requests of /v1/completions and /v1/chat/completions, parsed strictly.

    request = parse_chat(Params(decode_object(body)), generator)   # InputError that names the parameter
    request.prompts, request.options, request.stream

A parameter that is not known is refused, and so is one that would change the answer and is not supported, unless it
holds the value that changes nothing. Those that only label a request are taken, and named in the answer as "ignored".

Source: https://platform.openai.com/docs/api-reference, "Create completion", "Create chat completion".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from deepseek.contracts import JsonObject
from deepseek.engines.llm.model.options import GenerationOptions
from deepseek.engines.llm.model.tokenizer import LlmTokenizer
from deepseek.engines.llm.run.base import GenerationChunk
from deepseek.errors import InputError
from deepseek.serve.openai.params import ParamError, Params, call_for_param, check_tokens, describe_value

MAX_CHOICES = 64  # completions of one request: prompts times n
MAX_MESSAGES = 1_000

_SHARED = frozenset(
    [
        "model",
        "stream",
        "stream_options",
        "max_tokens",
        "n",
        "temperature",
        "top_p",
        "top_k",
        "seed",
        "stop",
        "frequency_penalty",
        "presence_penalty",
        "logprobs",
        "logit_bias",
        "response_format",
        "ignore_eos",
    ]
)
_COMPLETION = _SHARED | {"prompt", "echo", "best_of", "suffix"}
_CHAT = _SHARED | frozenset(
    [
        "messages",
        "max_completion_tokens",
        "top_logprobs",
        "tools",
        "tool_choice",
        "functions",
        "function_call",
        "modalities",
        "audio",
        "prediction",
        "moderation",
        "reasoning_effort",
        "verbosity",
        "web_search_options",
    ]
)
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


class Generation(Protocol):
    """A completion that is being generated."""

    @property
    def ids(self) -> Sequence[int]: ...

    def cancel(self) -> None: ...


class TextGenerator(Protocol):
    """A model that generates text: engines.llm.process.LlmProcess, or engines.llm.engine.LlmEngine in this process."""

    words: LlmTokenizer
    max_tokens: int

    def submit(
        self, ids: Sequence[int], options: GenerationOptions, on_piece: Callable[[GenerationChunk], None]
    ) -> Generation: ...

    def chat(self, messages: Sequence[JsonObject]) -> list[int]: ...

    def schema(self, schema: JsonObject) -> str: ...


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """A parsed request for completions."""

    kind: Literal["completion", "chat"]
    model: str
    prompts: tuple[tuple[int, ...], ...]  # tokens
    options: GenerationOptions
    num_answers: int = 1  # completions of each prompt
    stream: bool = False
    include_usage: bool = False
    echo: bool = False  # the prompt is repeated before its completion
    top_logprobs: bool = False  # list the most likely token too, which is the chosen one
    ignored: tuple[str, ...] = ()


def parse_completion(params: Params, generator: TextGenerator) -> CompletionRequest:
    """The request in the body of POST /v1/completions. ParamError."""
    params.check(_COMPLETION)
    prompts = _parse_prompts(params.get("prompt"), generator)
    num_logprobs = params.read("logprobs", int, None)
    request = _parse_request("completion", params, prompts, generator, wants_logprobs=num_logprobs is not None)
    _check_top_logprobs("logprobs", num_logprobs or 0, request.options)
    echo = bool(params.read("echo", bool, False))
    if echo and request.options.logprobs:
        raise ParamError("echo", "echo and logprobs are both asked for", expected="one of them")
    return replace(request, echo=echo, top_logprobs=bool(num_logprobs))


def parse_chat(params: Params, generator: TextGenerator) -> CompletionRequest:
    """The request in the body of POST /v1/chat/completions. ParamError."""
    params.check(_CHAT)
    messages = _parse_messages(params.get("messages"))
    prompt = call_for_param("messages", generator.chat, messages)
    top = params.read("top_logprobs", int, None)
    wants = bool(params.read("logprobs", bool, False))
    if top is not None and not wants:
        raise ParamError("top_logprobs", "top_logprobs is given without logprobs", expected='"logprobs": true with it')
    request = _parse_request("chat", params, (tuple(prompt),), generator, wants_logprobs=wants)
    _check_top_logprobs("top_logprobs", top or 0, request.options)
    return replace(request, top_logprobs=bool(top))


def _parse_request(
    kind: Literal["completion", "chat"],
    params: Params,
    prompts: tuple[tuple[int, ...], ...],
    generator: TextGenerator,
    *,
    wants_logprobs: bool,
) -> CompletionRequest:
    num_answers = params.read("n", int, 1) or 0
    if not 1 <= num_answers * len(prompts) <= MAX_CHOICES:
        raise ParamError(
            "n", f"{num_answers} answers to {len(prompts)} prompts", expected=f"1 to {MAX_CHOICES} in one request"
        )
    stream = bool(params.read("stream", bool, False))
    wishes = params.read("stream_options", dict, None) or {}
    if wishes and not stream:
        raise ParamError("stream_options", "stream_options is given without stream", expected='"stream": true with it')
    if set(wishes) - {"include_usage", "include_obfuscation"}:
        raise ParamError(
            "stream_options", f"stream_options is {describe_value(wishes)}", expected='{"include_usage": true}'
        )
    options = _parse_options(params, kind, generator, wants_logprobs=wants_logprobs)
    return CompletionRequest(
        kind, params.model_name, prompts, options, num_answers, stream,
        include_usage=bool(Params(wishes).read("include_usage", bool, False)), ignored=params.ignored,
    )  # fmt: skip


def _parse_options(params: Params, kind: str, generator: TextGenerator, *, wants_logprobs: bool) -> GenerationOptions:
    max_tokens = params.read("max_tokens", int, None)
    if kind == "completion" and max_tokens is None:
        max_tokens = 16  # as the protocol has it
    if (newer := params.read("max_completion_tokens", int, None)) is not None:
        max_tokens = newer
    stop = params.get("stop")
    stops = [stop] if isinstance(stop, str) else stop or []
    if not isinstance(stops, list) or not all(isinstance(text, str) for text in stops):
        raise ParamError("stop", f"stop is {describe_value(stop)}", expected="a text or a list of texts")
    options = GenerationOptions(
        max_tokens=max_tokens,
        temperature=params.number("temperature", 1.0),
        top_p=params.number("top_p", 1.0),
        top_k=max(params.read("top_k", int, 0) or 0, 0),  # other servers write -1 for all
        seed=params.read("seed", int, None),
        stop=tuple(stops),
        frequency_penalty=params.number("frequency_penalty", 0.0),
        presence_penalty=params.number("presence_penalty", 0.0),
        logprobs=wants_logprobs,
        json_schema=_parse_response_format(params.get("response_format"), generator),
        ignore_end=bool(params.read("ignore_eos", bool, False)),
    )
    try:
        options.check()
    except InputError as error:
        raise ParamError(
            error.message.split(" ", 1)[0], error.message, expected=error.expected, fix=error.fix
        ) from None
    return options


def _parse_response_format(form: Any, generator: TextGenerator) -> str | None:
    expected = '{"type": "text"}, {"type": "json_object"} or {"type": "json_schema", "json_schema": {"schema": {...}}}'
    if form is None:
        return None
    kind = form.get("type") if isinstance(form, dict) else None
    if kind == "text":
        return None
    schema: Any = {"type": "object"}
    if kind == "json_schema":
        holder = form.get("json_schema")
        schema = holder.get("schema") if isinstance(holder, dict) else None
    if kind not in ("json_object", "json_schema") or not isinstance(schema, dict):
        raise ParamError("response_format", f"response_format is {describe_value(form)}", expected=expected)
    return call_for_param("response_format", generator.schema, schema)


def _parse_prompts(prompt: Any, generator: TextGenerator) -> tuple[tuple[int, ...], ...]:
    room, size = generator.max_tokens - 1, len(generator.words.pieces)
    rows: list[list[int]]
    if prompt is None:
        rows = [[]]
    elif isinstance(prompt, str):
        rows = [_encode_prompt(prompt, generator, room)]
    elif isinstance(prompt, list) and prompt and len(prompt) <= MAX_CHOICES and all(isinstance(x, str) for x in prompt):
        rows = [_encode_prompt(text, generator, room) for text in prompt]
    elif isinstance(prompt, list) and prompt and all(type(item) is int for item in prompt):
        rows = [prompt]
    elif isinstance(prompt, list) and 0 < len(prompt) <= MAX_CHOICES and all(isinstance(item, list) for item in prompt):
        rows = prompt
    else:
        raise ParamError(
            "prompt", f"prompt is {describe_value(prompt)}",
            expected=f"a text, its tokens, or at most {MAX_CHOICES} of either", fix="correct prompt",
        )  # fmt: skip
    for row in rows:
        check_tokens("prompt", row, size)
    return tuple(map(tuple, rows))


def _encode_prompt(text: str, generator: TextGenerator, room: int) -> list[int]:
    return call_for_param("prompt", lambda text: generator.words.encode(text, max_tokens=room), text)


def _parse_messages(messages: Any) -> list[dict[str, str]]:
    if not isinstance(messages, list) or not 0 < len(messages) <= MAX_MESSAGES:
        raise ParamError(
            "messages", f"messages is {describe_value(messages)}", expected='[{"role": "user", "content": "..."}, ...]',
            fix=f"send 1 to {MAX_MESSAGES} messages",
        )  # fmt: skip
    return [_parse_message(f"messages[{index}]", message) for index, message in enumerate(messages)]


def _parse_message(path: str, message: Any) -> dict[str, str]:
    role = message.get("role") if isinstance(message, dict) else None
    if not isinstance(role, str) or role not in _ROLES:
        raise ParamError(f"{path}.role", f"{path} has the role {describe_value(role)}", expected=", ".join(_ROLES))
    for key, value in message.items():
        if key not in ("role", "content", "name") and value not in (None, []):
            raise ParamError(f"{path}.{key}", f"{path} has {describe_value(key)}", expected="role and content")
    content = message.get("content")
    if isinstance(content, list):
        parts = [
            part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None for part in content
        ]
        content = "".join(map(str, parts)) if all(isinstance(part, str) for part in parts) else parts
    if not isinstance(content, str):
        raise ParamError(
            f"{path}.content", f"the content of {path} is no text", expected='a text, or [{"type": "text", "text"}]'
        )
    return {"role": _ROLES[role], "content": content}


def _check_top_logprobs(param: str, num_top: int, options: GenerationOptions) -> None:
    """ParamError for more than one top token. The library gives the probability of the chosen token alone, which at
    temperature 0 is the most likely one."""
    plain = options.json_schema is None and options.frequency_penalty == options.presence_penalty == 0
    limit = 1 if options.greedy and plain else 0
    if not 0 <= num_top <= limit:
        raise ParamError(
            param, f"{param} is {num_top}", expected="0, or 1 at temperature 0 without penalties",
            fix=f"ask for 0: the chosen token's alone ({param})",
        )  # fmt: skip
