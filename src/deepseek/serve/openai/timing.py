"""When the pieces of a completion came: until the first token, between tokens, in all.

    timer = CompletionTimer([len(generation.ids) for generation in generations])
    timer.take(index, piece)        # of each piece, as it comes
    timer.times()                   # of each completion

It costs two additions a piece.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter

from deepseek.engines.llm.run.base import GenerationChunk


@dataclass(slots=True)
class CompletionTimes:
    """One completion. Spans in seconds, from when it was asked for."""

    prompt_tokens: int
    written_tokens: int = 0
    first_token_s: float | None = None  # None: no token came
    queue_s: float = 0.0  # of these, until its turn
    duration_s: float = 0.0  # until the last piece
    token_gaps: list[tuple[float, int]] = field(default_factory=list)  # span a token, and tokens, of each later piece
    finish: str = "abort"  # stop, length, abort, error


class CompletionTimer:
    """The completions of one request."""

    def __init__(self, prompt_tokens: Sequence[int]) -> None:
        """`prompt_tokens`: of each completion."""
        self._start_s = perf_counter()
        self._times = [CompletionTimes(count) for count in prompt_tokens]

    def take(self, index: int, piece: GenerationChunk) -> None:
        """A piece of the completion with this number has come."""
        times, span_s, num_tokens = self._times[index], perf_counter() - self._start_s, len(piece.tokens)
        if num_tokens:
            if times.first_token_s is None:
                times.first_token_s, times.queue_s = span_s, min(piece.queue_s, span_s)
            else:
                times.token_gaps.append(((span_s - times.duration_s) / num_tokens, num_tokens))
            times.written_tokens += num_tokens
            times.duration_s = span_s
        if piece.finish is not None:
            times.duration_s = span_s
            times.finish = "abort" if piece.finish == "cancelled" else piece.finish

    def times(self) -> tuple[CompletionTimes, ...]:
        """What is known so far; a completion that was given up is "abort"."""
        return tuple(self._times)
