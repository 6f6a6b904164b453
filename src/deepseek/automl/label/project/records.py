"""What a project keeps: its definition, items, labels, people, and the audit of changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from deepseek.contracts import JsonObject, Record
from deepseek.errors import CheckError

LabelTask = Literal["binary", "multiclass", "regression", "boxes", "masks", "spans"]
Role = Literal["labeler", "reviewer", "owner"]
Action = Literal["label", "skip", "unsure", "comment", "undo", "import"]
State = Literal["label", "skip", "unsure"]
#: A class, a number, or a list of boxes, masks or spans: what json.loads returns.
LabelValue = str | float | list[JsonObject] | None


class LabelConflictError(CheckError):
    """The same person has changed the same example elsewhere since it was shown: another tab, or another machine."""

    code = "conflict"


@dataclass(frozen=True, slots=True)
class Definition:
    """What is labeled and how; it does not change after the project was made."""

    task: LabelTask
    labels: tuple[str, ...]  # in the order of the keys 1, 2, 3, ...; empty for regression
    kinds: Mapping[str, str]  # of the columns of an item: text, image, audio, numeric, category, ...
    target: str  # the name of the column that labels become
    source: str  # where the rows came from
    source_digest: str  # sha256 of names, kinds and contents
    root: str  # the folder that paths lie below; "" without files
    seed: int
    num_test: int  # items drawn at random to be tested on, before anything was labeled
    overlap: float  # share of the items that two people label, 0..1

    @property
    def is_class(self) -> bool:
        return self.task in ("binary", "multiclass")

    @property
    def media(self) -> tuple[str, ...]:
        """The columns whose values are files."""
        return tuple(name for name, kind in self.kinds.items() if kind in FILE_KINDS)

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(name for name, kind in self.kinds.items() if kind == "text")


FILE_KINDS = ("image", "audio", "video", "volume", "series")


@dataclass(frozen=True, slots=True)
class NewItem:
    """An item before it is numbered."""

    key: str  # "row 7", or the name of a file
    content: Record
    digest: str  # of its content, files included: equal items are asked once
    size_bytes: int = 0  # of its files
    value: LabelValue = None  # that the data has already
    has_value: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """One example. `same_as`: the first item with the same content, which is asked in its place."""

    number: int
    key: str
    content: Record
    is_test: bool
    same_as: int | None
    fault: str  # why it cannot be shown: a file that vanished or changed; "" where it can


@dataclass(frozen=True, slots=True)
class Label:
    """What one person last said of one item."""

    item: int
    person: str
    state: State
    value: LabelValue
    comment: str
    change: int  # the number of the change that made it so


@dataclass(frozen=True, slots=True)
class NewChange:
    """What a person does. `id` is the sender's own: sent again, it changes nothing."""

    id: str
    person: str
    item: int
    action: Action
    value: LabelValue = None
    comment: str = ""
    seen: int | None = None  # the change that the sender has seen last of this item and person; 0: none. None: any
    duration_s: float = 0.0  # that the person looked at it; 0 where nobody knows
    origin: str = "page"  # page, api, import:FILE
    suggestion: str = "hidden"  # hidden, shown


@dataclass(frozen=True, slots=True)
class Change:
    """A line of the audit: what was before, what is after, and the digest that chains it to the line before."""

    number: int
    id: str
    time: str  # ISO 8601, UTC
    person: str
    item: int
    action: Action
    before: JsonObject | None
    after: JsonObject | None
    origin: str
    duration_s: float
    suggestion: str
    undoes: int | None
    digest: str
    is_repeat: bool = field(default=False, compare=False)  # it was sent before, and nothing was changed


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who labels."""

    name: str
    role: Role
    has_key: bool


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What the current model says of an item, with the parts of it that spoke for and against."""

    item: int
    value: str
    probability: float
    reasons: tuple[tuple[str, float], ...]  # name of a word or column, and what it added to the log-odds


@dataclass(frozen=True, slots=True)
class QueuedItem:
    """An item that the strategy wants labeled next."""

    item: int
    score: float  # the higher the more is expected of its label
    reason: Literal["uncertain", "typical", "diverse", "random"]


@dataclass(frozen=True, slots=True)
class Counts:
    """How far a project is."""

    num_items: int  # different ones
    num_copies: int  # equal to one before them
    num_test: int
    num_labeled: int  # items with a label, those to test on included
    num_test_labeled: int
    num_skipped: int  # items that were only skipped
    num_unsure: int
    num_faulty: int  # whose files vanished or changed
    last_change: int  # number of the last change that they hold: answers may overtake each other
    num_served: int = 0  # that a server sent, unsure of them
