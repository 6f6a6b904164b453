"""The operators that keep the events of keys in Flink's state. Imports pyflink.

parts of cards and others -> KeepHistories -> features of the key (main output)
                                 |  MESSAGES, by terminal
parts of terminals ---------> KeepTerminals -> features of the key
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from deepseek.extras import need
from deepseek.features.definition import TICKS_PER_SECOND, FeatureDefinition
from deepseek.features.flink.key_answers import KeyAnswers
from deepseek.features.flink.messages import Kind
from deepseek.features.flink.packing import pack_doubles, pack_longs, to_millis, unpack_longs
from deepseek.features.flink.parts import CardMessage, Part, PartQueue, ReadyPart
from deepseek.features.key_history import KeyHistory

need("pyflink", extra="flink")
from pyflink.common import Types  # noqa: E402
from pyflink.datastream import KeyedCoProcessFunction, KeyedProcessFunction, OutputTag, RuntimeContext  # noqa: E402
from pyflink.datastream.state import MapState, MapStateDescriptor, ValueStateDescriptor  # noqa: E402

#: Numbers as bytes: the one array that Flink hands on alike whether Python runs beside it or inside of it.
PACKED = Types.PRIMITIVE_ARRAY(Types.BYTE())
#: The same in state, where Flink cannot say of an array inside of it that there is none.
KEPT = Types.PICKLED_BYTE_ARRAY()
NAMED = Types.TUPLE([Types.STRING(), PACKED])  # a name, and whole numbers
FEATURES = Types.TUPLE([Types.LONG(), Types.LONG(), PACKED])  # number of an event, place of a key, features
MESSAGES = OutputTag("messages", NAMED)


class KeepHistories(KeyedProcessFunction):  # type: ignore[misc]
    """(PLACE:CODE, Part) to FEATURES of an event, and a card's message to MESSAGES, (PLACE:CODE of the terminal,
    CardMessage); of a verdict to nothing."""

    def __init__(self, definition: str) -> None:
        self.text = definition

    def open(self, runtime_context: RuntimeContext) -> None:
        self.kept = _KeptHistory(FeatureDefinition.from_toml(self.text), runtime_context)

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        parts = [ReadyPart(Part(*unpack_longs(value[1])), None)]
        return self.kept.take(value[0], parts, ctx)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Sequence[Any]:
        """See _KeptHistory.expire."""
        self.kept.expire(timestamp, ctx)
        return ()


class KeepTerminals(KeyedCoProcessFunction):  # type: ignore[misc]
    """The gate's parts for terminals (1) and what cards say (2), each (PLACE:CODE, numbers), to FEATURES. Parts count
    in the gate's order (parts.py)."""

    def __init__(self, definition: str) -> None:
        self.text = definition

    def open(self, runtime_context: RuntimeContext) -> None:
        self.kept = _KeptHistory(FeatureDefinition.from_toml(self.text), runtime_context)
        maps = [MapStateDescriptor(name, Types.LONG(), KEPT) for name in ("parts", "messages")]
        self.queue = PartQueue(*(PackedMap(runtime_context.get_map_state(one)) for one in maps))

    def process_element1(self, value: Any, ctx: KeyedCoProcessFunction.Context) -> Iterator[Any]:
        return self.kept.take(value[0], self.queue.add_part(Part(*unpack_longs(value[1]))), ctx)

    def process_element2(self, value: Any, ctx: KeyedCoProcessFunction.Context) -> Iterator[Any]:
        message = CardMessage.from_longs(unpack_longs(value[1]))
        return self.kept.take(value[0], self.queue.add_message(message), ctx)

    def on_timer(self, timestamp: int, ctx: KeyedCoProcessFunction.OnTimerContext) -> Sequence[Any]:
        """See _KeptHistory.expire. No part that waits needs what the watermark has passed: the gate had sent it, and
        its card had answered, before the watermark."""
        self.kept.expire(timestamp, ctx)
        return ()


class _KeptHistory:
    """The history of the key at hand, in Flink's state."""

    def __init__(self, definition: FeatureDefinition, runtime_context: RuntimeContext) -> None:
        self.answers = KeyAnswers(definition)
        self.rate = TICKS_PER_SECOND[definition.time_unit]
        self.state = runtime_context.get_state(ValueStateDescriptor("history", KEPT))

    def take(self, key: str, parts: Sequence[ReadyPart], ctx: Any) -> Iterator[Any]:
        """Counts parts of a key, PLACE:CODE, one after the other; what the operator hands on."""
        if not parts:
            return
        place = _place_of(key)
        history, has_timer = self._read(place)
        for part, message in parts:
            answer = self.answers.take(place, history, part, message)
            if answer is not None:
                yield answer.event, place, pack_doubles(answer.features)
                if answer.message is not None:
                    terminal = f"{self.answers.hidden.terminal}:{part.terminal}"
                    yield MESSAGES, (terminal, pack_longs(answer.message.as_longs()))
            if part.kind == Kind.EVENT and not has_timer:
                ctx.timer_service().register_event_time_timer(self._end(history))
                has_timer = True
        self._write(place, history, has_timer=has_timer)

    def expire(self, timestamp: int, ctx: Any) -> None:
        """Drops what the watermark has passed. A key with a known fraud keeps their number."""
        place = _place_of(ctx.get_current_key())
        history, _ = self._read(place)
        is_over = not history.times or self._end(history) <= timestamp
        if is_over:
            history.forget_all()
        else:
            ctx.timer_service().register_event_time_timer(self._end(history))
        if is_over and not history.forgotten_frauds:
            self.state.clear()
        else:
            self._write(place, history, has_timer=not is_over)

    def _end(self, history: KeyHistory) -> int:
        """From when on none of the events that are there is of use, in Flink's time."""
        return to_millis(history.times[-1] + history.rules.retention, self.rate)

    def _read(self, place: int) -> tuple[KeyHistory, bool]:
        history = KeyHistory(self.answers.rules[place])
        data = self.state.value()
        if data is None:
            return history, False
        has_timer, history.forgotten_frauds, *numbers = unpack_longs(data)
        width = 5 if self.answers.has_states(place) else 4
        size = len(numbers) // width
        columns = [numbers[column * size : (column + 1) * size] for column in range(width)]
        history.times, history.amounts, history.frauds, history.ids = columns[:4]
        history.notes = columns[4] if width == 5 else [0] * size
        return history, bool(has_timer)

    def _write(self, place: int, history: KeyHistory, *, has_timer: bool) -> None:
        numbers = [int(has_timer), history.forgotten_frauds]
        for column in (history.times, history.amounts, history.frauds, history.ids):
            numbers += column
        if self.answers.has_states(place):
            numbers += history.notes
        self.state.update(pack_longs(numbers))


class PackedMap:
    """A MapState of bytes as a LongMap."""

    def __init__(self, state: MapState) -> None:
        self.state = state

    def get(self, key: int) -> list[int] | None:
        data = self.state.get(key)
        return None if data is None else list(unpack_longs(data))

    def put(self, key: int, value: list[int]) -> None:
        self.state.put(key, pack_longs(value))

    def remove(self, key: int) -> None:
        self.state.remove(key)


def _place_of(key: str) -> int:
    return int(key.partition(":")[0])
