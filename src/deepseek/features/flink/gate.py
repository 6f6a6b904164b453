"""The gate that every message passes, one after the other: which events count, and where each goes.

    gate = Gate(definition, ids, chunks)       # two maps, which Flink keeps and checkpoints
    admission = gate.admit(message, place)     # a number in the stream, a Status, and what the others need

What is known of the whole stream is here, and only here: its clock, which is the latest time of an accepted event, and
the ids. So the Status of an event is the one that the store gives, whatever comes, and however many machines the
histories of keys are spread over. Like the store it forgets ids in the order in which they came.
"""

from __future__ import annotations

from typing import NamedTuple

from deepseek.features.definition import FeatureDefinition
from deepseek.features.flink.messages import Kind, Message
from deepseek.features.flink.parts import LongMap
from deepseek.features.key_history import check_values
from deepseek.features.plan import make_plan
from deepseek.features.status import Status

#: Ids that are forgotten are listed in chunks of so many: small enough to be written anew, large enough to be few.
CHUNK_IDS = 512
BAD_INPUT = -1  # what a message gets that is neither event nor verdict


class GatePlace(NamedTuple):
    """How far a gate has come."""

    num_messages: int = 0
    clock: int | None = None  # the latest time of an accepted event, ticks
    num_known: int = 0  # ids that were ever accepted
    num_forgotten: int = 0  # of these


class Admission(NamedTuple):
    """What becomes of one message."""

    number: int  # of the message in the stream, from 0
    status: int  # of Status, or BAD_INPUT
    event: int  # number of the accepted event that it is about; its own where there is none
    message: Message  # of a verdict with the time and the keys of its event
    clock: int | None


class Gate:
    """Numbers, checks and routes messages. `ids`: code -> (number, arrival, time, *keys) of its accepted event;
    `chunks`: number of a chunk -> (arrival, code) of ids in the order in which they came."""

    def __init__(self, definition: FeatureDefinition, ids: LongMap, chunks: LongMap) -> None:
        self.plan = make_plan(definition)
        self.ids, self.chunks = ids, chunks
        self._first: tuple[int, list[int]] | None = None  # the chunk that is forgotten next, and its number
        self._last: tuple[int, list[int]] | None = None  # the chunk that is written

    def admit(self, message: Message, place: GatePlace) -> tuple[Admission, GatePlace]:
        """What becomes of a message, and the place behind it."""
        number, clock = place.num_messages, place.clock
        place = place._replace(num_messages=number + 1)
        if message.kind == Kind.NEITHER:
            return Admission(number, BAD_INPUT, number, message, clock), place
        known = self.ids.get(message.id)
        if known is not None and clock is not None:
            event, arrival, time, *keys = known
            if message.kind == Kind.VERDICT:
                message = message._replace(time=time, keys=tuple(keys))
                status = Status.LABEL_LATE if time + self.plan.label_horizon <= clock else Status.ACCEPTED
            else:
                status = Status.DUPLICATE if arrival > clock - self.plan.duplicates else Status.DUPLICATE_OLD
            return Admission(number, status, event, message, clock), place
        if message.kind == Kind.VERDICT:
            return Admission(number, Status.UNKNOWN_ID, number, message, clock), place
        status = check_values(self.plan, message.time, message.amount, clock)
        if status == Status.ACCEPTED:
            place = self._accept(message, place)
        return Admission(number, status, number, message, place.clock), place

    def _accept(self, message: Message, place: GatePlace) -> GatePlace:
        clock = message.time if place.clock is None else max(place.clock, message.time)
        self.ids.put(message.id, [place.num_messages - 1, clock, message.time, *message.keys])
        self._last = _load(self.chunks, self._last, place.num_known // CHUNK_IDS)
        self._last[1].extend((clock, message.id))
        self.chunks.put(*self._last)
        place = place._replace(clock=clock, num_known=place.num_known + 1)
        return self._forget(place, clock - self.plan.id_retention)

    def _forget(self, place: GatePlace, until: int) -> GatePlace:
        """Drops the ids that came when the clock was at `until` or before."""
        while place.num_forgotten < place.num_known:
            chunk, row = divmod(place.num_forgotten, CHUNK_IDS)
            self._first = self._last if self._last and self._last[0] == chunk else self._first
            self._first = _load(self.chunks, self._first, chunk)
            arrival, identity = self._first[1][2 * row : 2 * row + 2]
            if arrival > until:
                break
            self.ids.remove(identity)
            place = place._replace(num_forgotten=place.num_forgotten + 1)
            if row == CHUNK_IDS - 1:
                self.chunks.remove(chunk)
        return place


def _load(chunks: LongMap, loaded: tuple[int, list[int]] | None, chunk: int) -> tuple[int, list[int]]:
    """The chunk of that number: the one that is loaded, or from the map."""
    if loaded is not None and loaded[0] == chunk:
        return loaded
    return chunk, list(chunks.get(chunk) or [])
