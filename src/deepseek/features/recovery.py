"""From the folder of a store to its state: the newest snapshot, and the log behind it.

recovered = recover(folder, definition, plan)
verification = verify_folder(folder)       # of a copy, too: what there is, whether it is whole, and its digest
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from deepseek.errors import DeepseekError, IntegrityError, MissingError
from deepseek.features.apply import apply_events, apply_verdicts
from deepseek.features.core import layout
from deepseek.features.core.layout import State
from deepseek.features.definition import FeatureDefinition
from deepseek.features.folder import newest_snapshot
from deepseek.features.log import EVENTS, VERDICTS, Frame, LogFile, decode_events, decode_verdicts, read_logs
from deepseek.features.plan import Plan, make_plan
from deepseek.features.snapshot import read_snapshot
from deepseek.features.state import digest_state, empty_state

DEFINITION = "definition.toml"


@dataclasses.dataclass(frozen=True)
class Recovered:
    """A state that goes on behind the record `sequence`."""

    state: State
    sequence: int
    last_file: LogFile | None  # where the log goes on


@dataclasses.dataclass(frozen=True)
class Verification:
    """What `FeatureStore.verify` says. `ok` where `problems` is empty."""

    ok: bool
    problems: tuple[str, ...]
    definition: str = ""  # digest
    sequence: int = 0  # the last whole record
    num_events: int = 0  # that were accepted, ever
    digest: str = ""  # of the state: the same for a copy, and for whoever was sent the same events
    cut_bytes: int = 0  # of a last record that was not whole: written when the process ended, never acknowledged


def recover(folder: Path, definition: FeatureDefinition, plan: Plan) -> Recovered:
    """The state behind the last whole record. IntegrityError names what is damaged; InputError says that the snapshot
    is of another definition."""
    state, sequence = empty_state(plan), 0
    snapshot_folder = newest_snapshot(folder)
    if snapshot_folder is not None:
        snapshot = read_snapshot(snapshot_folder, definition, plan)
        state, sequence = snapshot.state, snapshot.sequence
    last_file = None
    for last_file in read_logs(folder, sequence + 1):
        for frame in last_file.frames:
            if frame.sequence > sequence:
                state, sequence = _replay(frame, plan, state), frame.sequence
    return Recovered(state, sequence, last_file)


def read_definition(folder: Path) -> FeatureDefinition:
    """The definition that a folder is of."""
    try:
        return FeatureDefinition.from_toml((folder / DEFINITION).read_text("utf-8"))
    except OSError as error:
        raise MissingError(
            f"{folder} is no store of features: {DEFINITION} {error.strerror}", expected="the folder of a store",
            fix="check the path",
        ) from error  # fmt: skip


def verify_folder(folder: Path) -> Verification:
    """Reads all that a folder holds, as `open` would, and changes nothing."""
    try:
        definition = read_definition(folder)
        plan = make_plan(definition)
        recovered = recover(folder, definition, plan)
    except DeepseekError as error:
        return Verification(ok=False, problems=(str(error),))
    file, counters = recovered.last_file, recovered.state.counters
    return Verification(
        ok=True,
        problems=(),
        definition=definition.digest,
        sequence=recovered.sequence,
        num_events=int(counters[layout.NUM_COUNTERS + layout.ACCEPTED]),
        digest=digest_state(plan, recovered.state),
        cut_bytes=0 if file is None else file.size_bytes - file.whole_bytes,
    )


def _replay(frame: Frame, plan: Plan, state: State) -> State:
    if frame.kind == EVENTS:
        return apply_events(plan, state, decode_events(frame.payload, len(plan.num_windows)))[0]
    if frame.kind == VERDICTS:
        apply_verdicts(plan, state, *decode_verdicts(frame.payload))
        return state
    raise IntegrityError(
        f"record {frame.sequence} of the log has the kind {frame.kind}", expected="events or verdicts",
        fix="use the version of this package that wrote it",
    )  # fmt: skip
