"""Configuration of a pruning. No torch: a wrong value is refused before anything heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from deepseek.errors import InputError


@dataclass(frozen=True, slots=True)
class Pruning:
    """How much is removed, and from where."""

    drop: float = 0.30  # share of the parameters to remove, above 0 and below 1
    allocation: Literal["latency", "flops", "uniform"] = "latency"  # what a channel saves: time measured here, or MACs
    speed: float = 0.8  # 0: cut by time saved per importance lost; 1: by time saved per parameter
    cap: float = 0.75  # largest share of a group's channels to remove, above 0 and below 1
    round_to: int = 16  # remaining channels are a multiple of this, at least 1; CPU engines work on 16 at a time
    keep: tuple[str, ...] = ()  # modules by name, and all in them, whose output channels stay

    def __post_init__(self) -> None:
        _check_share("drop", self.drop)
        _check_share("cap", self.cap)
        for name, good, expected in (
            ("allocation", self.allocation in ("latency", "flops", "uniform"), "latency, flops or uniform"),
            ("speed", 0 <= self.speed <= 1, "between 0 and 1"),
            ("round_to", self.round_to >= 1, "1 or more, such as 8"),
        ):
            if not good:
                raise InputError(f"prune.{name} is {getattr(self, name)}", expected=expected, fix="give such a value")


def _check_share(name: str, value: float) -> None:
    if 0 < value < 1:
        return
    percent = f"for {value:g} % write {value / 100:g}" if 1 <= value < 100 else "give a share such as 0.30"
    raise InputError(f"prune.{name} is {value}", expected="above 0 and below 1", fix=percent)
