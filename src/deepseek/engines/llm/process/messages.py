"""What passes between LlmProcess or a Sandbox and its process: JSON, written and read here alone.

A worker takes a WorkerSpec, sends the engine that it has opened or why it has none, and takes commands, a line each.
The chunks of one step of the engine come back as one line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from deepseek.contracts import JsonObject
from deepseek.engines.llm.model.convert import Precision
from deepseek.engines.llm.model.options import EngineLimits, GenerationOptions
from deepseek.engines.llm.run.base import EngineInfo, GenerationChunk
from deepseek.errors import DeepseekError


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """The model that a worker opens, and how."""

    folder: Path
    cache: Path | None  # where it is converted to; None: the folder is one that convert() made
    precision: Precision
    limits: EngineLimits

    def to_json(self) -> str:
        cache = None if self.cache is None else str(self.cache)
        return json.dumps(asdict(self) | {"folder": str(self.folder), "cache": cache})

    @classmethod
    def from_json(cls, text: str) -> WorkerSpec:
        fields = json.loads(text)
        cache = None if fields["cache"] is None else Path(fields["cache"])
        return cls(Path(fields["folder"]), cache, fields["precision"], EngineLimits(**fields["limits"]))


@dataclass(frozen=True, slots=True)
class SubmitCommand:
    """Begin the answer `number` to the prompt `ids`."""

    number: int
    ids: list[int]
    options: GenerationOptions

    def to_json(self) -> str:
        return json.dumps({"submit": self.number, "ids": self.ids, "options": asdict(self.options)})


@dataclass(frozen=True, slots=True)
class CancelCommand:
    """Write no more of the answer `number`."""

    number: int

    def to_json(self) -> str:
        return json.dumps({"cancel": self.number})


def parse_command(line: bytes) -> SubmitCommand | CancelCommand:
    """The command in a line."""
    fields = json.loads(line)
    if "cancel" in fields:
        return CancelCommand(fields["cancel"])
    options = GenerationOptions(**fields["options"] | {"stop": tuple(fields["options"]["stop"])})
    return SubmitCommand(fields["submit"], fields["ids"], options)


def encode_ready(result: EngineInfo | DeepseekError) -> str:
    """The first line of a worker: the engine that it has opened, or why it has none."""
    return json.dumps({"error": str(result)} if isinstance(result, DeepseekError) else {"ready": asdict(result)})


def parse_ready(line: bytes) -> EngineInfo:
    """The engine that a worker has opened. DeepseekError when it has none, or when the line is empty."""
    fields: JsonObject = json.loads(line) if line else {"error": "the process ended or did not answer"}
    if "error" in fields:
        raise DeepseekError(f"the model cannot be opened: {fields['error']}", expected="a model", fix="see the log")
    return EngineInfo(**fields["ready"] | {"end_ids": tuple(fields["ready"]["end_ids"])})


def encode_chunks(chunks: Sequence[tuple[int, GenerationChunk]]) -> str:
    """The chunks of one step, each with the number of its answer, as one line."""
    rows = []
    for number, chunk in chunks:
        reason = chunk.error and chunk.error.message
        rows.append([number, chunk.text, chunk.tokens, chunk.logprobs, chunk.finish, reason, chunk.queue_s])
    return json.dumps(rows)


def parse_chunks(line: bytes) -> Iterator[tuple[int, GenerationChunk]]:
    """The inverse of encode_chunks()."""
    for number, text, tokens, logprobs, finish, reason, queue_s in json.loads(line):
        error = DeepseekError(reason, expected="an answer", fix="send the request again") if reason else None
        yield number, GenerationChunk(text, tuple(tokens), tuple(logprobs), finish, error, queue_s)


@dataclass(frozen=True, slots=True)
class SandboxReply:
    """The text that a question is answered with, or the error in its place. Neither: the sandbox is ready."""

    text: str = ""
    error: str = ""  # the message of an error
    expected: str = ""
    fix: str = ""
    status: int = 0  # of the error's class over HTTP

    @classmethod
    def from_error(cls, error: DeepseekError) -> SandboxReply:
        return cls("", error.message, error.expected, error.fix, error.status)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: bytes) -> SandboxReply:
        return cls(**json.loads(line))
