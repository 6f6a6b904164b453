"""A line of JSON to whole numbers: an event, a verdict, or what is neither. As `deepseek stream` takes them.

    message = read_message(definition, '{"TRANSACTION_ID": 17, "TX_DATETIME": 1530403200, ...}')

An event has every column of the definition but the label. An object with the columns of ids and of labels, and not all
of those, is a verdict. Other columns are passed over.
"""

from __future__ import annotations

import enum
import json
from typing import Any, NamedTuple

from deepseek.contracts import JsonObject
from deepseek.errors import InputError
from deepseek.features.definition import FeatureDefinition
from deepseek.features.events import code_of
from deepseek.features.raw_values import read_amount_values, read_time_values


class Kind(enum.IntEnum):
    """What a message is."""

    EVENT = 0
    VERDICT = 1
    NEITHER = 2


class Message(NamedTuple):
    """One message, of a kind; what a kind has not is 0 or empty."""

    kind: int
    shown_id: str  # as it came, in JSON; "null" where there is none
    id: int = 0  # code
    time: int = 0  # ticks
    amount: int = 0  # smallest units
    fraud: int = 0  # of a verdict
    keys: tuple[int, ...] = ()  # codes, in the order of the definition's keys


def read_message(definition: FeatureDefinition, text: str) -> Message:
    """What a text says. It is never refused here: what cannot be read is of the kind NEITHER."""
    try:
        record = _read_record(text)
    except (ValueError, RecursionError):
        return Message(Kind.NEITHER, "null")
    columns = definition.columns
    shown_id = json.dumps(record.get(columns.id), ensure_ascii=False)
    key_columns = [key.column for key in definition.keys.values()]
    try:
        if all(name in record for name in (columns.time, columns.amount, columns.id, *key_columns)):
            return Message(
                Kind.EVENT,
                shown_id,
                _code(record[columns.id], columns.id),
                int(read_time_values([record[columns.time]], definition.time_unit)[0]),
                int(read_amount_values([record[columns.amount]], definition.amount_decimals)[0]),
                keys=tuple(_code(record[name], name) for name in key_columns),
            )
        label = columns.label or "label"
        if columns.id in record and record.get(label, -1) in (0, 1):
            return Message(Kind.VERDICT, shown_id, _code(record[columns.id], columns.id), fraud=int(record[label]))
    except InputError:  # a key that is none
        pass
    return Message(Kind.NEITHER, shown_id)


def _code(value: Any, name: str) -> int:
    return code_of(value, name)


def _read_record(text: str) -> JsonObject:
    record = json.loads(text, object_pairs_hook=_as_record, parse_constant=_null_for_nan)
    if not isinstance(record, dict):
        raise ValueError("no object")
    return record


def _as_record(pairs: list[tuple[str, Any]]) -> JsonObject:
    """A column stands once, and holds a scalar."""
    record = dict(pairs)
    if len(record) < len(pairs) or any(isinstance(value, (dict, list)) for value in record.values()):
        raise ValueError("no record of scalars")
    return record


def _null_for_nan(_: str) -> None:
    """NaN and Infinity are no JSON, but what many libraries write for a missing number."""
