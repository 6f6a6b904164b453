"""Features of events over time: windows per card and terminal, from one definition offline and online, to the bit.

    definition = FeatureDefinition.from_toml(text)               # or card_payments("CUSTOMER_ID", "TERMINAL_ID", ...)
    events = EventColumns.from_columns(definition, columns)      # raw columns to whole numbers
    columns = compute_offline(definition, events)                # a whole table
    store = FeatureStore.open(folder, definition)                # the same, event by event, safe on disk
    scores = store.score(events)

Begin reading at definition.py, then offline.py, then reference.py, which says in plain Python what kernel.py does fast.
"""

from typing import Any

from deepseek.extras import lazy_attributes, need
from deepseek.features.definition import FeatureDefinition, card_payments
from deepseek.features.events import EventColumns, read_codes
from deepseek.features.offline import FeatureColumns, compute_offline
from deepseek.features.status import Scores, Status

__all__ = [
    "EventColumns",
    "FeatureColumns",
    "FeatureDefinition",
    "FeatureStore",
    "Scores",
    "Status",
    "Verification",
    "card_payments",
    "compute_offline",
    "read_codes",
]

_find_lazily = lazy_attributes(__name__, {"FeatureStore": "store", "Verification": "recovery"})


def __getattr__(name: str) -> Any:
    if name in ("FeatureStore", "Verification"):
        need("numba", extra="features")
    return _find_lazily(name)
