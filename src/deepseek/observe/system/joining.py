"""Puts system events beside requests: a column of `rows` that names what had just happened to the host of a row.

An event counts for the requests of its host that were answered within AFTER_S of it. Of events on one host within
TOGETHER_S of each other, which tell of one thing, the worst is told: the kernel kills a process, its container ends,
Kubernetes starts it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from deepseek.observe.reading.ndjson import quote_text
from deepseek.observe.reading.tables import Logs
from deepseek.observe.system.events import SEVERITY, SYSTEM_FIELD, SystemEvent
from deepseek.observe.system.sources import SystemEvents

BEFORE_S, AFTER_S = 2.0, 60.0  # clocks of one host's parts, and how long a restart takes
TOGETHER_S = 30.0
MAX_JOINED = 2_000  # events


def join_events(logs: Logs, system: SystemEvents) -> None:
    """Add the column SYSTEM_FIELD to `rows`, and note what was read. Events of hosts whose clock is apart are moved as
    their rows were. An event without a host is of the rows' host, and rows without one are of the events' host, where
    there is one alone."""
    notes = logs.notes
    notes.num_system_events, notes.num_broken_system = len(system.events), system.num_broken
    notes.num_dropped_system = system.num_dropped
    offsets = {_short(host): offset_s for host, offset_s in notes.clock_offsets_s.items()}
    events = [replace(event, time_s=event.time_s - offsets.get(_short(event.host), 0.0)) for event in system.events]
    first_s, last_s = logs.query("SELECT min(time), max(time) FROM rows")[0]
    events = merge_events([event for event in events if first_s - AFTER_S <= event.time_s <= last_s + BEFORE_S])
    placed = _place_events(logs, events[-MAX_JOINED:])
    notes.num_unjoined_system = len(events) - len({id(event) for _, event in placed})
    if not placed:
        return
    pids = _worker_pids(logs)
    values = ", ".join(
        f"({quote_text(host)}, {event.time_s - BEFORE_S!r}, {event.time_s + AFTER_S!r}, "
        f"{quote_text(_name_worker(event, pids).sentence)})"
        for host, event in placed
    )
    logs.query(f"CREATE TEMP TABLE system_events AS SELECT * FROM (VALUES {values}) t(host, from_s, to_s, told)")
    logs.query(
        f'CREATE TEMP TABLE joined AS SELECT rows.*, CASE WHEN rows.time <= e.to_s THEN e.told END AS "{SYSTEM_FIELD}" '
        f"FROM rows ASOF LEFT JOIN system_events e ON {_row_host(logs)} = e.host AND rows.time >= e.from_s"
    )
    for sql in ("DROP TABLE rows", "DROP TABLE system_events", "ALTER TABLE joined RENAME TO rows"):
        logs.query(sql)


def _place_events(logs: Logs, events: Sequence[SystemEvent]) -> list[tuple[str, SystemEvent]]:
    """Each event with the host of the rows that it is for; without those that are for none."""
    known = {row[0] for row in logs.query(f"SELECT DISTINCT {_row_host(logs)} FROM rows LIMIT 10000")}
    hosts = {_short(event.host) for event in events if event.host}
    placed = []
    for event in events:
        names = [_short(host) for host in event.hosts if host] or list(known if len(known) == 1 else ())
        if known == {""} and len(hosts) <= 1:  # the rows name no host
            names = [""]
        placed += [(name, event) for name in names if name in known]
    return placed


def _row_host(logs: Logs) -> str:
    """The host of a row as SQL; "" for one without."""
    if "host" not in logs.columns:
        return "''"
    return "coalesce(lower(split_part(CAST(rows.host AS VARCHAR), '.', 1)), '')"


def _short(host: str) -> str:
    """A host's name without its domain, which one log has and another has not."""
    return host.lower().partition(".")[0]


def merge_events(events: Sequence[SystemEvent]) -> list[SystemEvent]:
    """Events by their time, of those that belong together the worst, at the time of the first of them."""
    merged: list[SystemEvent] = []
    last: dict[str, int] = {}  # by host: the place of its last event
    for event in sorted(events, key=lambda each: each.time_s):
        place = last.get(event.host)
        if place is not None and event.time_s - merged[place].time_s <= TOGETHER_S:
            if SEVERITY[event.kind] < SEVERITY[merged[place].kind]:
                merged[place] = replace(event, time_s=merged[place].time_s)
            continue
        last[event.host] = len(merged)
        merged.append(event)
    return merged


def _worker_pids(logs: Logs) -> frozenset[int]:
    """The engine processes that the rows name."""
    if "worker" not in logs.columns:
        return frozenset()
    pids = logs.query("SELECT DISTINCT TRY_CAST(worker AS BIGINT) FROM rows WHERE worker IS NOT NULL LIMIT 100000")
    return frozenset(row[0] for row in pids if row[0])


def _name_worker(event: SystemEvent, pids: frozenset[int]) -> SystemEvent:
    return replace(event, subject=f"worker {event.pid}") if event.pid in pids else event
