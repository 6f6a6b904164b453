"""The operators around the gate and the histories, and the graph that they make. Imports pyflink.

    answers = build_job(definition, messages)

Flink's event time is the time of events, its watermark the gate's clock less the bound of lateness: what is behind it
was refused at the gate, so that no window waits. It cleans up: a key's events and the answers to ids are dropped when
it has passed them. No answer depends on when that happens.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from deepseek.extras import need
from deepseek.features.definition import TICKS_PER_SECOND, FeatureDefinition
from deepseek.features.flink.gate import BAD_INPUT, Gate, GatePlace
from deepseek.features.flink.histories import (
    FEATURES,
    KEPT,
    MESSAGES,
    NAMED,
    KeepHistories,
    KeepTerminals,
    PackedMap,
)
from deepseek.features.flink.messages import Kind, Message, read_message
from deepseek.features.flink.packing import pack_doubles, pack_longs, to_millis, unpack_doubles, unpack_longs
from deepseek.features.flink.parts import split_message
from deepseek.features.key_history import compute_event_feature
from deepseek.features.plan import make_plan
from deepseek.features.status import Status

need("pyflink", extra="flink")
from pyflink.common import Duration, Types, WatermarkStrategy  # noqa: E402
from pyflink.common.types import Row  # noqa: E402
from pyflink.common.watermark_strategy import TimestampAssigner  # noqa: E402
from pyflink.datastream import (  # noqa: E402
    DataStream,
    KeyedCoProcessFunction,
    KeyedProcessFunction,
    KeyedStream,
    MapFunction,
    OutputTag,
    RuntimeContext,
    StreamExecutionEnvironment,
)
from pyflink.datastream.state import ListStateDescriptor, MapStateDescriptor, ValueStateDescriptor  # noqa: E402

HEAD_NAMES = ("number", "kind", "id", "status")  # of an answer, before the features
NO_CLOCK = -(2**63)
HEADS, FOR_TERMINALS = OutputTag("heads", NAMED), OutputTag("for terminals", NAMED)
STATUS_NAMES = {BAD_INPUT: "bad_input", **{int(status): status.name.lower() for status in Status}}
KIND_NAMES = ("event", "verdict", "")


def build_job(definition: FeatureDefinition, messages: DataStream) -> DataStream:
    """Answers to messages: to each, a JSON text as `deepseek stream` takes it, one named row with `number` (of the
    message in the stream), `kind` (event, verdict or empty), `id` (in JSON), `status` (by its name, bad_input for what
    cannot be read) and a column for each feature, NaN where there is none.

    `messages` should come in about the order of time: of several partitions what is further behind than the bound of
    lateness is refused. What is before the histories has one instance, the rest the environment's parallelism.
    """
    if definition.hidden is not None:
        need("numba", extra="flink")
    text = definition.to_toml()
    delay = Duration.of_millis(1_000 * definition.ticks(definition.bounds.lateness) // _rate(definition))
    watermarks = WatermarkStrategy.for_bounded_out_of_orderness(delay)
    by_event, by_clock = (watermarks.with_timestamp_assigner(of(_rate(definition))) for of in (_PartTime, _HeadTime))
    with _one_instance(messages.get_execution_environment()):
        read = messages.map(_Read(text), NAMED).name("read")
        gate = read.key_by(lambda _: 0, Types.INT()).process(_PassGate(text), NAMED).name("gate")
        parts = gate.assign_timestamps_and_watermarks(by_event)
        heads = gate.get_side_output(HEADS).assign_timestamps_and_watermarks(by_clock)
        for_terminals = gate.get_side_output(FOR_TERMINALS)
        if definition.hidden is not None:
            for_terminals = for_terminals.assign_timestamps_and_watermarks(by_event)
    features = _by_name(parts).process(KeepHistories(text), FEATURES).name("histories")
    if definition.hidden is not None:
        said = features.get_side_output(MESSAGES)
        terminals = _by_name(for_terminals).connect(_by_name(said)).process(KeepTerminals(text), FEATURES)
        features = features.union(terminals.name("terminals"))
    names = [*HEAD_NAMES, *definition.names]
    types = [Types.LONG(), Types.STRING(), Types.STRING(), Types.STRING(), *[Types.DOUBLE()] * len(definition.names)]
    return (
        heads.key_by(lambda head: unpack_longs(head[1])[0], Types.LONG())
        .connect(features.key_by(lambda part: part[0], Types.LONG()))
        .process(_JoinParts(text), Types.ROW_NAMED(names, types))
        .name("join")
    )


def _by_name(stream: DataStream) -> KeyedStream:
    return stream.key_by(lambda named: named[0], Types.STRING())


@contextmanager
def _one_instance(environment: StreamExecutionEnvironment) -> Iterator[None]:
    """Operators that are added meanwhile have one instance. Two would hand messages on in an order of their own, and
    of what stands around a timestamp Flink lets nobody set the parallelism."""
    parallelism = environment.get_parallelism()
    environment.set_parallelism(1)
    try:
        yield
    finally:
        environment.set_parallelism(parallelism)


def as_lines(definition: FeatureDefinition, answers: DataStream) -> DataStream:
    """The answers of `build_job` as JSON, null where a feature has no value."""
    names = (*HEAD_NAMES, *definition.names)

    def as_line(row: Row) -> str:
        number, kind, identity, status, *values = row
        shown = [None if math.isnan(value) else value for value in values]
        return json.dumps(dict(zip(names, (number, kind, json.loads(identity), status, *shown), strict=True)))

    return answers.map(as_line, Types.STRING()).name("lines")


class _Read(MapFunction):  # type: ignore[misc]
    """A text to (id, [kind, id, time, amount, fraud, *keys])."""

    def __init__(self, definition: str) -> None:
        self.text = definition

    def open(self, runtime_context: RuntimeContext) -> None:
        self.definition = FeatureDefinition.from_toml(self.text)

    def map(self, value: str) -> tuple[str, bytes]:
        kind, shown_id, *numbers, keys = read_message(self.definition, value)
        return shown_id, pack_longs([kind, *numbers, *keys])


class _PassGate(KeyedProcessFunction):  # type: ignore[misc]
    """A message to a Part for each key, (PLACE:CODE, Part), where it changes something, in FOR_TERMINALS for one whose
    state is followed; to HEADS, always, (id, [event, number, kind, status, time, amount, clock])."""

    def __init__(self, definition: str) -> None:
        self.text = definition

    def open(self, runtime_context: RuntimeContext) -> None:
        self.definition = FeatureDefinition.from_toml(self.text)
        self.place = runtime_context.get_state(ValueStateDescriptor("place", KEPT))
        maps = [MapStateDescriptor(name, Types.LONG(), KEPT) for name in ("ids", "chunks")]
        self.gate = Gate(self.definition, *(PackedMap(runtime_context.get_map_state(one)) for one in maps))
        metrics = runtime_context.get_metrics_group()
        self.counters = {
            (kind, status): metrics.counter(f"label_{name}" if kind == Kind.VERDICT else name)
            for kind in (Kind.EVENT, Kind.VERDICT)
            for status, name in STATUS_NAMES.items()
        }

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Any]:
        shown_id, (kind, identity, time, amount, fraud, *keys) = value[0], unpack_longs(value[1])
        message = Message(kind, shown_id, identity, time, amount, fraud, tuple(keys))
        admission, place = self.gate.admit(message, self._read_place())
        clock = NO_CLOCK if place.clock is None else place.clock
        self.place.update(pack_longs([place.num_messages, clock, place.num_known, place.num_forgotten]))
        self.counters[Kind.VERDICT if kind == Kind.VERDICT else Kind.EVENT, admission.status].inc()
        if admission.status == Status.ACCEPTED:
            yield from self._parts(admission.message, admission.event)
        _, event, message, clock_then = admission[1:]
        then = NO_CLOCK if clock_then is None else clock_then
        head = [event, admission.number, kind, int(admission.status), message.time, message.amount, then]
        yield HEADS, (shown_id, pack_longs(head))

    def _parts(self, message: Message, event: int) -> Iterator[Any]:
        hidden = self.gate.plan.hidden
        for place, code, part in split_message(self.gate.plan, message, event):
            named = f"{place}:{code}", pack_longs(part)
            yield (FOR_TERMINALS, named) if hidden.is_on and place == hidden.terminal else named

    def _read_place(self) -> GatePlace:
        data = self.place.value()
        if data is None:
            return GatePlace()
        num_messages, clock, num_known, num_forgotten = unpack_longs(data)
        return GatePlace(num_messages, None if clock == NO_CLOCK else clock, num_known, num_forgotten)


class _JoinParts(KeyedCoProcessFunction):  # type: ignore[misc]
    """What the gate says of a message (1) and the features of its keys (2), by the number of the event, to rows. An
    answer is kept as long as the gate calls a repeated id a duplicate of it."""

    def __init__(self, definition: str) -> None:
        self.text = definition

    def open(self, runtime_context: RuntimeContext) -> None:
        self.definition = FeatureDefinition.from_toml(self.text)
        self.plan, self.rate = make_plan(self.definition), _rate(self.definition)
        keys = range(len(self.definition.keys))
        features = tuple(enumerate(self.definition.features))
        self.nothing = [math.nan] * len(features)
        self.columns = [[column for column, feature in features if feature.key == key] for key in keys]
        self.event_columns = [(column, feature.kind) for column, feature in features if feature.key < 0]
        self.values = runtime_context.get_state(ValueStateDescriptor("values", KEPT))
        self.waiting = runtime_context.get_list_state(ListStateDescriptor("waiting", KEPT))

    def process_element1(self, value: Any, ctx: KeyedCoProcessFunction.Context) -> Iterator[Row]:
        _, _, kind, status, time, amount, clock = unpack_longs(value[1])
        if kind != Kind.EVENT or status not in (Status.ACCEPTED, Status.DUPLICATE):
            yield self._row(value, self.nothing)
            return
        self.waiting.add(value)
        if status == Status.ACCEPTED:
            end = to_millis(clock + self.plan.duplicates, self.rate)
            ctx.timer_service().register_event_time_timer(end)
            features = [compute_event_feature(self.plan, one, time, amount) for _, one in self.event_columns]
            yield from self._fill([column for column, _ in self.event_columns], features)
        elif not (values := self._read())[0]:
            yield from self._answer(values)

    def process_element2(self, value: Any, ctx: KeyedCoProcessFunction.Context) -> Iterator[Row]:
        _, place, features = value
        yield from self._fill(self.columns[place], unpack_doubles(features))

    def on_timer(self, timestamp: int, ctx: KeyedCoProcessFunction.OnTimerContext) -> Sequence[Any]:
        """A repeated id is no duplicate any more that is answered."""
        self.values.clear()
        self.waiting.clear()
        return ()

    def _fill(self, columns: list[int], features: Sequence[float]) -> Iterator[Row]:
        """One of the parts, and the answer when it is the last."""
        values = self._read()
        values[0] -= 1
        for column, feature in zip(columns, features, strict=True):
            values[column + 1] = feature
        self.values.update(pack_doubles(values))
        if not values[0]:
            yield from self._answer(values)

    def _answer(self, values: list[float]) -> Iterator[Row]:
        for head in self.waiting.get():
            yield self._row(head, values[1:])
        self.waiting.clear()

    def _read(self) -> list[float]:
        """How many parts are missing, and the features."""
        data = self.values.value()
        if data is not None:
            return list(unpack_doubles(data))
        return [len(self.columns) + 1, *self.nothing]

    def _row(self, head: Any, values: list[float]) -> Row:
        _, number, kind, status, *_ = unpack_longs(head[1])
        return Row(number, KIND_NAMES[kind], head[0], STATUS_NAMES[status], *values)


class _PartTime(TimestampAssigner):  # type: ignore[misc]
    """The time of a part's event."""

    def __init__(self, ticks_per_second: int) -> None:
        self.rate = ticks_per_second

    def extract_timestamp(self, value: Any, record_timestamp: int) -> int:
        return to_millis(unpack_longs(value[1])[3], self.rate)


class _HeadTime(TimestampAssigner):  # type: ignore[misc]
    """The gate's clock when it had seen a message."""

    def __init__(self, ticks_per_second: int) -> None:
        self.rate = ticks_per_second

    def extract_timestamp(self, value: Any, record_timestamp: int) -> int:
        return to_millis(unpack_longs(value[1])[-1], self.rate)


def _rate(definition: FeatureDefinition) -> int:
    return TICKS_PER_SECOND[definition.time_unit]
