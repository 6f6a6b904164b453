"""Messages of a stream as JSON, and what a store answers to each."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

import numpy as np

from deepseek.features import EventColumns, FeatureDefinition, FeatureStore, Status
from deepseek.features.raw_values import read_amount_values, read_code_values, read_time_values


@dataclasses.dataclass(frozen=True)
class StoreAnswer:
    """What one message got: a Status by its name, or bad_input; features (F,), NaN where there are none."""

    status: str
    features: np.ndarray


def event_messages(events: EventColumns, names: Sequence[str]) -> list[str]:
    """Events as JSON, each fraud's verdict right behind it. `names`: of the columns of the definition: time, amount,
    id, label, then the keys."""
    time, amount, identity, label, *keys = names
    messages = []
    for row in range(len(events)):
        record = {identity: int(events.id[row]), time: int(events.time[row]), amount: int(events.amount[row]) / 100}
        record |= {key: int(column[row]) for key, column in zip(keys, events.keys, strict=True)}
        messages.append(json.dumps(record))
        if events.fraud is not None and events.fraud[row]:
            messages.append(json.dumps({identity: int(events.id[row]), label: 1}))
    return messages


def column_names(definition: FeatureDefinition) -> list[str]:
    """time, amount, id, label, then the keys."""
    names = definition.columns
    return [names.time, names.amount, names.id, names.label, *(key.column for key in definition.keys.values())]


def answers_of_store(definition: FeatureDefinition, messages: Sequence[str]) -> list[StoreAnswer]:
    """What FeatureStore says to each message, one after the other."""
    time, amount, identity, label, *keys = column_names(definition)
    store, nothing = FeatureStore.open(None, definition), np.full(len(definition.names), np.nan)
    answers = []
    for message in messages:
        try:
            record = json.loads(message)
        except ValueError:
            answers.append(StoreAnswer("bad_input", nothing))
            continue
        ids = read_code_values([record[identity]], identity)
        if amount not in record:
            status = store.label(ids, np.array([record[label]]))
            answers.append(StoreAnswer(Status(int(status[0])).name.lower(), nothing))
            continue
        event = EventColumns(
            read_time_values([record[time]], definition.time_unit),
            read_amount_values([record[amount]], definition.amount_decimals),
            tuple(read_code_values([record[key]], key) for key in keys),
            ids,
        )
        scores = store.score(event)
        answers.append(StoreAnswer(Status(int(scores.status[0])).name.lower(), scores.features[0]))
    return answers


def same_bits(left: np.ndarray, right: np.ndarray) -> bool:
    """Whether two arrays of float64 hold the same, NaN included."""
    left, right = np.ascontiguousarray(left), np.ascontiguousarray(right)
    return left.shape == right.shape and bool((left.view(np.int64) == right.view(np.int64)).all())
