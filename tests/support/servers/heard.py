"""The pieces of one answer of an engine that writes, as a callback that can be waited for."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from deepseek.engines.llm.run.base import Generation, GenerationChunk


@dataclass
class Heard:
    """on_piece of one answer."""

    generation: Generation | None = None
    pieces: list[GenerationChunk] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    def __call__(self, piece: GenerationChunk) -> None:
        self.pieces.append(piece)
        if piece.finish is not None:
            self.done.set()

    def wait(self) -> Heard:
        assert self.done.wait(30)
        return self

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)

    @property
    def tokens(self) -> list[int]:
        return [token for piece in self.pieces for token in piece.tokens]

    @property
    def finish(self) -> str | None:
        return self.pieces[-1].finish
