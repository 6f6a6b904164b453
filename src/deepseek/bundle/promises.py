"""What a bundle promises of new rows, as its test rows have it: the operating point, and figures that these contradict.

read_promises(bundle).operating_point.recall
[text.en for text in read_promises(bundle).warnings()]      # what does not hold, the worst first
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from deepseek.bundle.fields import parse_value
from deepseek.bundle.paths import METRICS_FILE
from deepseek.errors import InputError, IntegrityError
from deepseek.operating_point import OperatingPoint

if TYPE_CHECKING:  # words are imported where they are asked for: a bundle opens in milliseconds
    from deepseek.contracts import JsonObject
    from deepseek.look.contradictions import Contradiction
    from deepseek.look.words import Text


@dataclass(frozen=True, slots=True)
class Promises:
    """The part of evidence/metrics.json that speaks of decisions on new rows."""

    operating_point: OperatingPoint | None = None  # of two classes
    contradictions: tuple[Contradiction, ...] = ()

    def warnings(self) -> list[Text]:
        """What does not hold, in words, the worst first."""
        from deepseek.look import operating_point as point_words

        points = [] if self.operating_point is None else point_words.warnings(self.operating_point)
        return [*points, *(entry.words() for entry in self.contradictions)]

    def to_dict(self) -> JsonObject:
        """The keys that they add to evidence/metrics.json."""
        point = {} if self.operating_point is None else {"operating_point": self.operating_point.to_dict()}
        return {**point, "contradictions": [entry.to_dict() for entry in self.contradictions]}

    @classmethod
    def from_metrics(cls, document: Mapping[str, Any]) -> Promises:
        """From evidence/metrics.json; empty where an older release wrote it. IntegrityError for what cannot be read."""
        from deepseek.look.contradictions import Contradiction

        try:
            point = document.get("operating_point")
            contradictions = document.get("contradictions") or []
            return cls(
                None if point is None else _read_known_fields(OperatingPoint, point, "operating_point"),
                tuple(_read_known_fields(Contradiction, entry, "contradictions") for entry in contradictions),
            )
        except (InputError, TypeError, ValueError, AttributeError) as error:
            raise IntegrityError(
                f"{METRICS_FILE} does not hold an operating point: {error!r}",
                expected="the operating point as ship writes it", fix="make the bundle again",
            ) from error  # fmt: skip


def _read_known_fields(kind: Any, document: Any, where: str) -> Any:
    """A record from the fields of a JSON object that it has: others are derived, or of a later release."""
    if not isinstance(document, dict):
        raise TypeError(f"{where} is no object")
    names = {field.name for field in fields(kind)}
    return parse_value(kind, {name: value for name, value in document.items() if name in names}, where)
