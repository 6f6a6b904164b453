"""What the parts of one text, picture, sound or series add: records, which become a PartDocument each.

    part = TextParts("note", tokens=(...), sentences=(...), is_cut=False, num_evaluations=90, is_partial=False)
    part.to_dict()["tokens"][0]              {"text": "Good", "start": 0, "end": 4, "value": 1.2, "error": 0.01}

`start` and `end` count characters of a text and moments of a series; values are on the scale of the attribution, errors
are standard errors.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from deepseek.explain.records import OPTIONAL, JsonRecord, PartDocument


@dataclass(frozen=True, slots=True, eq=False)
class TextSpan(JsonRecord):
    """A token or a sentence, with its place in the text."""

    text: str
    start: int
    end: int
    value: float
    error: float


class PartRecord(JsonRecord):
    """The parts of one input, whatever its kind."""

    __slots__ = ()

    def document(self) -> PartDocument:
        """to_dict(), by its shape."""
        return cast("PartDocument", self.to_dict())


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TextParts(PartRecord):
    """The tokens and sentences of a text; none where the model reads no token of it."""

    column: str
    kind: str = "text"
    tokens: tuple[TextSpan, ...] = ()
    sentences: tuple[TextSpan, ...] = ()
    is_cut: bool  # the text is longer than the model reads
    end_read: int | None = field(default=None, metadata=OPTIONAL)  # where it was cut
    num_evaluations: int  # answers of the model
    is_partial: bool  # a limit came before the error that was asked for
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ImageRegion(JsonRecord):
    """A rectangle of a picture."""

    box: tuple[int, int, int, int]  # left, top, right, bottom in pixels
    value: float
    error: float


@dataclass(frozen=True, slots=True, eq=False)
class SeriesStretch(JsonRecord):
    """Some neighboring moments of some channels of a series."""

    channels: tuple[str, ...]
    start: int
    end: int
    value: float
    error: float


@dataclass(frozen=True, slots=True, eq=False)
class SoundCell(JsonRecord):
    """A band of the spectrum for some time."""

    seconds: tuple[float, float]  # from, to
    hertz: tuple[float, float]
    value: float
    error: float


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class GridParts(PartRecord):
    """The regions of a picture, the stretches of a series or the cells of a sound."""

    column: str
    kind: str  # "image", "series" or "audio"
    num_evaluations: int
    is_partial: bool
    notes: tuple[str, ...]
    size: tuple[int, int] | None = field(default=None, metadata=OPTIONAL)  # of a picture: height, width
    regions: tuple[ImageRegion, ...] | None = field(default=None, metadata=OPTIONAL)
    length: int | None = field(default=None, metadata=OPTIONAL)  # of a series: moments
    stretches: tuple[SeriesStretch, ...] | None = field(default=None, metadata=OPTIONAL)
    seconds: float | None = field(default=None, metadata=OPTIONAL)  # of a sound
    cells: tuple[SoundCell, ...] | None = field(default=None, metadata=OPTIONAL)
