"""How far the answers of a lossy precision may be from those in float32."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from deepseek.errors import InputError


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far the answers may move from those in float32, on the texts given to choose()."""

    min_cosine: float = 0.99  # of each embedding to its exact one, -1..1
    max_difference: float = 0.1  # of a number in an embedding, or of a probability
    min_agreement: float = 0.99  # share of texts (tokens) that keep their label, 0..1

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not isinstance(value, (int, float)) or not -1 <= value <= 1:
                raise InputError(
                    f"tolerance.{name} is {value!r}", expected="a number from -1 to 1", fix=f"for example {name}=0.99"
                )
