"""What the features of an event are, as data: columns, keys, windows, the delay of labels; from TOML and back.

    definition = FeatureDefinition.from_toml(text)
    definition.names      # one name a feature, in the order of the columns that every way of computing them gives
    definition.digest     # of all that an answer depends on; kept in snapshots, logs and bundles

Example of the text: `card_payments(...).to_toml()`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Literal

from deepseek.config import build_dataclass
from deepseek.errors import InputError
from deepseek.features.hidden.parameters import HiddenStates

FORMAT = 1
TICKS_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
UNIT_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
MAX_WINDOWS = 8  # of one key
MAX_KEYS = 8
#: Features of the event alone.
EVENT_FEATURES = ("amount", "hour", "weekday")
#: Features of a key over a window that ends with the event and holds it.
WINDOW_FEATURES = ("count", "sum", "mean")
#: Of the event's amount against the key's earlier ones in the window; no value (NaN) where there are none.
HISTORY_FEATURES = ("amount_ratio", "amount_zscore")
#: Over a window that ends `label_delay` before the event.
LABEL_WINDOW_FEATURES = ("known_count", "fraud_count", "fraud_share")
#: Of a key, without a window.
KEY_FEATURES = ("gap", "frauds_known", "fraud_streak", "fraud_streak_age", "since_fraud")
#: Of hidden states, where a definition has them: of the key whose amounts tell, and of the one whose verdicts tell.
CARD_STATE_FEATURES = (
    "state_odds", "amount_odds", "fraud_odds", "usual_amount", "usual_ratio", "usual_spread", "usual_chance",
)  # fmt: skip
TERMINAL_STATE_FEATURES = ("state_odds", "state_known_odds", "state_days", "fraud_odds")
STATE_FEATURES = tuple(dict.fromkeys((*CARD_STATE_FEATURES, *TERMINAL_STATE_FEATURES)))
LABEL_FEATURES = (*LABEL_WINDOW_FEATURES, *KEY_FEATURES[1:], *STATE_FEATURES)
WINDOWED = (*WINDOW_FEATURES, *HISTORY_FEATURES, *LABEL_WINDOW_FEATURES)


@dataclasses.dataclass(frozen=True)
class ColumnNames:
    """The columns of a table that an event is read from. `id` and `label` may be absent ("")."""

    time: str = "time"
    amount: str = "amount"
    id: str = "id"
    label: str = "label"


@dataclasses.dataclass(frozen=True)
class KeyDefinition:
    """What is kept of one key: a card, a terminal, an account."""

    column: str
    windows: tuple[str, ...]  # such as "1d", "12h"; ascending
    features: tuple[str, ...]  # of WINDOWED (each over every window), KEY_FEATURES and STATE_FEATURES


@dataclasses.dataclass(frozen=True)
class Bounds:
    """What an event may be; beyond, it is counted and refused."""

    lateness: str = "1d"  # how far behind the latest event
    ahead: str = "60d"  # how far before the latest event: one clock that is wrong would make all others late
    duplicates: str = "1d"  # for how long the answer to an id is kept, to be given again


@dataclasses.dataclass(frozen=True)
class Feature:
    """One feature: its name, what it is, of which key (its place in `keys`, -1: of the event), over which window (its
    place in the key's windows, -1: none)."""

    name: str
    kind: str
    key: int = -1
    window: int = -1


@dataclasses.dataclass(frozen=True)
class FeatureDefinition:
    """All that an answer depends on. InputError where it does not fit together."""

    keys: Mapping[str, KeyDefinition]
    columns: ColumnNames = ColumnNames()
    event_features: tuple[str, ...] = EVENT_FEATURES
    time_unit: Literal["s", "ms", "us", "ns"] = "s"
    amount_decimals: int = 2  # digits after the point that an amount may have: 2 makes cents of euros
    label_delay: str = "7d"  # a verdict counts from this long after the event
    bounds: Bounds = Bounds()
    format: int = FORMAT
    hidden: HiddenStates | None = None

    def __post_init__(self) -> None:
        _check(self)

    @classmethod
    def from_toml(cls, text: str) -> FeatureDefinition:
        """The definition that a text holds. InputError names the line or the field at fault.

        >>> definition = card_payments("card", "terminal")
        >>> FeatureDefinition.from_toml(definition.to_toml()) == definition
        True
        """
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise InputError(
                f"the definition of features is no TOML: {error}", expected="TOML", fix="mend that line"
            ) from error
        return build_dataclass(cls, table)

    def to_toml(self) -> str:
        """The definition as text, one way only: its digest is over this text.

        >>> print(card_payments("card", "terminal").to_toml().splitlines()[0])
        format = 1
        """
        lines = [
            f"format = {self.format}",
            f"time_unit = {_quote(self.time_unit)}",
            f"amount_decimals = {self.amount_decimals}",
            f"label_delay = {_quote(self.label_delay)}",
            f"event_features = {_quote(list(self.event_features))}",
        ]
        for section, values in (("columns", self.columns), ("bounds", self.bounds)):
            lines += ["", f"[{section}]"]
            lines += [f"{name} = {_quote(value)}" for name, value in dataclasses.asdict(values).items()]
        for name, key in self.keys.items():
            lines += ["", f"[keys.{_quote(name)}]", f"column = {_quote(key.column)}"]
            lines += [f"windows = {_quote(list(key.windows))}", f"features = {_quote(list(key.features))}"]
        if self.hidden is not None:
            lines += _hidden_lines(self.hidden)
        return "\n".join(lines) + "\n"

    @property
    def digest(self) -> str:
        """SHA-256 of the text, in hex."""
        return hashlib.sha256(self.to_toml().encode()).hexdigest()

    @property
    def features(self) -> tuple[Feature, ...]:
        """Every feature, in the order of the columns of an answer."""
        return tuple(self._features())

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features, such as "card.count.7d".

        >>> card_payments("card", "terminal").names[3:5]
        ('card.count.1d', 'card.count.7d')
        """
        return tuple(feature.name for feature in self._features())

    def ticks(self, duration: str) -> int:
        """A duration such as "7d" in units of the time column."""
        return duration_s(duration) * TICKS_PER_SECOND[self.time_unit]

    def windows(self, key: KeyDefinition) -> tuple[int, ...]:
        """The windows of a key in units of the time column."""
        return tuple(self.ticks(window) for window in key.windows)

    @property
    def label_horizon(self) -> int:
        """How long after its event a verdict still changes something, in units of the time column."""
        longest = [self.windows(key)[-1] for key in self.keys.values() if has_labels(key)]
        return self.ticks(self.label_delay) + max(longest, default=0)

    def retention(self, key: KeyDefinition) -> int:
        """How long the events of a key are kept behind its latest, in units of the time column."""
        delay = self.ticks(self.label_delay) if has_labels(key) else 0
        needed = delay + self.windows(key)[-1]
        if "frauds_known" in key.features:  # of all time: a verdict must find its event as long as one is taken
            needed = max(needed, self.label_horizon)
        return needed + self.ticks(self.bounds.lateness)

    def _features(self) -> Iterator[Feature]:
        for kind in self.event_features:
            yield Feature(kind, kind)
        for place, (name, key) in enumerate(self.keys.items()):
            for kind in key.features:
                if kind in WINDOWED:
                    for index, window in enumerate(key.windows):
                        yield Feature(f"{name}.{kind}.{window}", kind, place, index)
                else:
                    yield Feature(f"{name}.{kind}", kind, place)


def has_labels(key: KeyDefinition) -> bool:
    """Whether a feature of the key depends on labels."""
    return any(feature in LABEL_FEATURES for feature in key.features)


def duration_s(text: str) -> int:
    """Whole seconds of a text such as "30d", "12h", "15m" or "45s".

    >>> duration_s("7d")
    604800
    """
    match = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    if match is None:
        raise InputError(
            f"{text!r} is no duration", expected="a whole number with s, m, h or d, such as 7d", fix="write it so"
        )
    return int(match[1]) * UNIT_SECONDS[match[2]]


def card_payments(
    card: str,
    terminal: str,
    *,
    time: str = "time",
    amount: str = "amount",
    id: str = "id",  # noqa: A002  the column's name in a definition
    label: str = "label",
    label_delay: str = "7d",
) -> FeatureDefinition:
    """The usual features of card payments: of the card and of the terminal, over 1, 7 and 30 days. `card`, `terminal`
    and the others are names of columns."""
    windows = ("1d", "7d", "30d")
    return FeatureDefinition(
        keys={
            "card": KeyDefinition(
                card, windows, (*WINDOW_FEATURES, *HISTORY_FEATURES, *LABEL_WINDOW_FEATURES[1:], *KEY_FEATURES)
            ),
            "terminal": KeyDefinition(terminal, windows, (*WINDOW_FEATURES, *LABEL_WINDOW_FEATURES, *KEY_FEATURES)),
        },
        columns=ColumnNames(time, amount, id, label),
        label_delay=label_delay,
    )


def with_states(definition: FeatureDefinition, hidden: HiddenStates) -> FeatureDefinition:
    """The definition with hidden states of two of its keys, and every feature of them."""
    keys = dict(definition.keys)
    for name, features in ((hidden.card, CARD_STATE_FEATURES), (hidden.terminal, TERMINAL_STATE_FEATURES)):
        if name in keys:
            keys[name] = dataclasses.replace(keys[name], features=(*keys[name].features, *features))
    return dataclasses.replace(definition, keys=keys, hidden=hidden)


def states_alone(definition: FeatureDefinition) -> FeatureDefinition:
    """The same without any feature but those of hidden states."""
    keys = {
        name: dataclasses.replace(key, features=tuple(each for each in key.features if each in STATE_FEATURES))
        for name, key in definition.keys.items()
    }
    return dataclasses.replace(definition, event_features=(), keys=keys)


def _quote(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _hidden_lines(hidden: HiddenStates) -> list[str]:
    """The section of hidden states. A number as text is the shortest one that reads back as the same."""
    plain = ["", "[hidden]"]
    sections: list[str] = []
    for name, value in dataclasses.asdict(hidden).items():
        if isinstance(value, dict):
            sections += ["", f"[hidden.{name}]", *(f"{key} = {_quote(each)}" for key, each in value.items())]
        else:
            plain.append(f"{name} = {_quote(value)}")
    return plain + sections


def _check(definition: FeatureDefinition) -> None:
    if definition.format != FORMAT:
        raise InputError(
            f"the definition of features has format {definition.format}",
            expected=f"format {FORMAT}",
            fix="use the version of this package that wrote it",
        )
    if not 0 <= definition.amount_decimals <= 4:
        raise InputError(
            f"amount_decimals is {definition.amount_decimals}", expected="0 to 4", fix="2 counts cents of euros"
        )
    if not 1 <= len(definition.keys) <= MAX_KEYS:
        raise InputError(
            f"the definition has {len(definition.keys)} keys", expected=f"1 to {MAX_KEYS}", fix="name what is looked at"
        )
    _check_features(definition.event_features, EVENT_FEATURES, "event_features")
    for duration in (definition.label_delay, *dataclasses.astuple(definition.bounds)):
        duration_s(duration)
    _check_hidden(definition)
    for name, key in definition.keys.items():
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
            raise InputError(f"{name!r} is no name of a key", expected="letters, digits and _", fix="rename it")
        _check_features(
            key.features, (*WINDOWED, *KEY_FEATURES, *_state_features(definition, name)), f"keys.{name}.features"
        )
        seconds = [duration_s(window) for window in key.windows]
        if not 1 <= len(seconds) <= MAX_WINDOWS or seconds != sorted(set(seconds)) or seconds[0] == 0:
            raise InputError(
                f"keys.{name}.windows is {list(key.windows)}",
                expected=f"1 to {MAX_WINDOWS} windows, each longer than the one before",
                fix='write them as ["1d", "7d", "30d"]',
            )
    if not definition.features:
        raise InputError("the definition has no feature", expected="one or more", fix="name features of a key")


def _check_hidden(definition: FeatureDefinition) -> None:
    hidden = definition.hidden
    if hidden is None:
        return
    pair = (hidden.card, hidden.terminal)
    if len({*pair} & {*definition.keys}) < len(pair):
        raise InputError(
            f"hidden states of {hidden.card!r} and {hidden.terminal!r}",
            expected=f"two of {', '.join(definition.keys)}", fix="name two keys of the definition",
        )  # fmt: skip
    for name in pair:  # what a state needs of a key is kept for its features
        if not {*definition.keys[name].features} & {*STATE_FEATURES}:
            raise InputError(
                f"keys.{name} has hidden states and no feature of them",
                expected=f"one or more of {', '.join(_state_features(definition, name))}",
                fix="name one, or leave [hidden] out",
            )  # fmt: skip


def _state_features(definition: FeatureDefinition, key: str) -> tuple[str, ...]:
    hidden = definition.hidden
    if hidden is None:
        return ()
    return {hidden.card: CARD_STATE_FEATURES, hidden.terminal: TERMINAL_STATE_FEATURES}.get(key, ())


def _check_features(features: tuple[str, ...], known: tuple[str, ...], where: str) -> None:
    for feature in features:
        if feature not in known:
            raise InputError(f"{feature!r} in {where} is no feature", expected=", ".join(known), fix="choose of these")
    if len(set(features)) != len(features):
        raise InputError(f"{where} names a feature twice", expected="each once", fix="take one out")
