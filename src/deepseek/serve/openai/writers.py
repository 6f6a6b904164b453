"""Models behind OpenAI's routes that answer with text: those that generate it, and assistants that choose it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from deepseek.contracts import Event
from deepseek.serve.core.card import ModelEntry
from deepseek.serve.core.request import Request, Response

if TYPE_CHECKING:
    from deepseek.engines.llm.process.process import LlmProcess
    from deepseek.serve.openai.params import Params

CompletionKind = Literal["completion", "chat"]


@runtime_checkable
class WritingModel(Protocol):
    """A model that the server starts and closes, and that answers completions or chats."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def task(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def retry_after_s(self) -> int: ...
    @property
    def entry(self) -> ModelEntry:
        """In GET /v1/models."""
        ...

    @property
    def ready(self) -> bool: ...
    @property
    def process(self) -> LlmProcess | None:
        """What generates, where that is a process of its own."""
        ...

    async def start(self, emit: Callable[[Event], None]) -> None:
        """Open it, before the first connection. Raises why it cannot be used."""
        ...

    async def close(self) -> None: ...

    async def complete(self, request: Request, params: Params, kind: CompletionKind) -> Response:
        """The response to a completion or a chat, whole or as events."""
        ...
