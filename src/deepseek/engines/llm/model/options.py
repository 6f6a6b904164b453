"""What a request may ask of a generation, and how much an engine may use.

GenerationOptions(max_tokens=64, temperature=0.7, stop=("\\n\\n",)).check()
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from deepseek.errors import InputError

MAX_STOPS = 16
MAX_STOP_CHARACTERS = 1000
#: Below it, dividing logits by the temperature leaves nothing to chance but overflow: the most likely token is taken.
GREEDY_TEMPERATURE = 0.01


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """How an answer is sampled, and where it ends."""

    max_tokens: int | None = None  # None: as many as fit
    temperature: float = 1.0  # 0 takes the most likely token each time
    top_p: float = 1.0  # the smallest set of tokens that together have this probability, above 0
    top_k: int = 0  # the k most likely tokens; 0 for all
    seed: int | None = None  # None: another answer each time
    stop: tuple[str, ...] = ()  # an answer ends before any of these
    frequency_penalty: float = 0.0  # -2..2, taken from a token's logit for each time that it stands in the answer
    presence_penalty: float = 0.0  # -2..2, the same, once
    logprobs: bool = False  # say the logarithm of each token's probability
    json_schema: str | None = None  # the answer is JSON of this schema (see schemas.schema_text)
    ignore_end: bool = False  # go on to max_tokens, also after a token that ends a text; for measuring

    def check(self) -> None:
        """InputError for a value outside of its range."""
        if self.max_tokens is not None and self.max_tokens < 1:
            raise _option_error("max_tokens", self.max_tokens, "1 or more, or null for as many as fit")
        ranges = {
            "temperature": (self.temperature, 0.0, 2.0),
            "frequency_penalty": (self.frequency_penalty, -2.0, 2.0),
            "presence_penalty": (self.presence_penalty, -2.0, 2.0),
        }
        for name, (value, low, high) in ranges.items():
            if not low <= value <= high:
                raise _option_error(name, value, f"{low:g} to {high:g}")
        if not 0 < self.top_p <= 1:
            raise _option_error("top_p", self.top_p, "above 0, at most 1")
        if self.top_k < 0:
            raise _option_error("top_k", self.top_k, "0 for all tokens, or how many")
        if len(self.stop) > MAX_STOPS:
            raise _option_error("stop", f"{len(self.stop)} texts", f"at most {MAX_STOPS}")
        if any(not 0 < len(text) <= MAX_STOP_CHARACTERS for text in self.stop):
            raise _option_error(
                "stop", "an empty or a very long text", f"texts of 1 to {MAX_STOP_CHARACTERS} characters"
            )

    @property
    def greedy(self) -> bool:
        return self.temperature < GREEDY_TEMPERATURE


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """How much of the machine an engine may use."""

    cache_bytes: int = 1 << 30  # for keys and values
    max_running: int = 64  # answers that are generated at a time
    max_waiting: int = 256  # answers that wait for their turn; one more is refused
    max_batch_tokens: int = 256  # of one step: long prompts are read in pieces of it, between the tokens of others
    num_threads: int = 1
    exact: bool = False  # keep float32 throughout; else the cache is int8 and arithmetic as low as the CPU likes
    bfloat16: bool = False  # compute in bfloat16, also where the CPU would not choose it

    def __post_init__(self) -> None:
        for name in ("cache_bytes", "max_running", "max_batch_tokens", "num_threads"):
            if getattr(self, name) < 1:
                raise _option_error(name, getattr(self, name), "1 or more")
        if self.max_waiting < 0:
            raise _option_error("max_waiting", self.max_waiting, "0 or more")
        if self.exact and self.bfloat16:
            raise _option_error("bfloat16", "true beside exact", "one of the two")

    @property
    def arithmetic(self) -> str:
        """The arithmetic of float32 weights: float32, bfloat16, or "auto", as low as the CPU likes."""
        return "float32" if self.exact else "bfloat16" if self.bfloat16 else "auto"


def _option_error(name: str, value: object, expected: str) -> InputError:
    shown = f"{value:g}" if isinstance(value, float) and math.isfinite(value) else str(value)
    return InputError(f"{name} is {shown[:100]}", expected=expected, fix=f"correct {name}, or leave it out")
