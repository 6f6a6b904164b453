"""The state of a store as a snapshot in its folder.

SnapshotWork(folder, used_arrays(state), definition.digest, sequence).write()
snapshot = read_snapshot(newest_snapshot(folder), definition, plan)
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from deepseek.features.core import layout
from deepseek.features.core.layout import State
from deepseek.features.definition import FeatureDefinition
from deepseek.features.folder import read_arrays
from deepseek.features.plan import Plan
from deepseek.features.state import restore_state


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A state as it was behind one record of the log."""

    state: State
    sequence: int


def read_snapshot(path: Path, definition: FeatureDefinition, plan: Plan) -> Snapshot:
    """A state of this definition. IntegrityError names a file that has changed; InputError says that the snapshot is of
    another definition."""
    stored = read_arrays(path, definition.digest)
    state = restore_state(plan, dict(stored.arrays))
    state.counters[layout.NEED] = layout.NOTHING
    return Snapshot(state, stored.sequence)
