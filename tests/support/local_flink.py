"""The parts of the job on Flink in one process, without Flink: operators, and channels that hand on when they like."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from deepseek.features import FeatureDefinition, Status
from deepseek.features.flink.gate import BAD_INPUT, Admission, Gate, GatePlace
from deepseek.features.flink.key_answers import KeyAnswers
from deepseek.features.flink.messages import Kind, read_message
from deepseek.features.flink.parts import CardMessage, Part, PartQueue, ReadyPart, split_message
from deepseek.features.key_history import KeyHistory, compute_event_feature
from support.messages import StoreAnswer

NUM_OPERATORS = 3  # that the keys of one place are spread over
Key = tuple[int, int]  # place and code


class DictMap(dict[int, list[int]]):
    """As Flink's MapState: a value is what it was when it was put."""

    def put(self, key: int, value: list[int]) -> None:
        self[key] = list(value)

    def remove(self, key: int) -> None:
        del self[key]


class LocalJob:
    """`send` a message, `deliver` some of what is on the way, `answers` at the end. Of one channel, from one operator
    to another, things come in their order; of several, in any. `restart` forgets what is not in the state that Flink
    keeps."""

    def __init__(self, definition: FeatureDefinition) -> None:
        self.definition, self.place = definition, GatePlace()
        self.ids, self.chunks = DictMap(), DictMap()
        self.queues: dict[Key, tuple[DictMap, DictMap]] = defaultdict(lambda: (DictMap(), DictMap()))
        self.histories: dict[Key, KeyHistory] = {}
        self.channels: dict[tuple[Any, ...], deque[tuple[Key, Part | CardMessage]]] = defaultdict(deque)
        self.admissions: list[Admission] = []
        self.features: dict[int, np.ndarray] = {}  # by the number of the event
        self.restart()

    def restart(self) -> None:
        self.gate = Gate(self.definition, self.ids, self.chunks)
        self.key_answers = KeyAnswers(self.definition)

    def send(self, text: str) -> str:
        """The status of a message."""
        admission, self.place = self.gate.admit(read_message(self.definition, text), self.place)
        self.admissions.append(admission)
        message = admission.message
        if admission.status == BAD_INPUT:
            return "bad_input"
        if admission.status == Status.ACCEPTED:
            for place, code, part in split_message(self.gate.plan, message, admission.event):
                self._put("gate", (place, code), part)
            if message.kind == Kind.EVENT:
                self.features[admission.event] = np.array([
                    compute_event_feature(self.gate.plan, feature.kind, message.time, message.amount)
                    if feature.key < 0 else np.nan for feature in self.definition.features
                ])  # fmt: skip
        return Status(admission.status).name.lower()

    def deliver(self, rng: np.random.Generator, most: int) -> None:
        """Up to `most` of what is on the way, from channels by chance."""
        for _ in range(most):
            names = [name for name, waiting in self.channels.items() if waiting]
            if not names:
                return
            key, thing = self.channels[names[int(rng.integers(len(names)))]].popleft()
            self._take(key, self._ready(key, thing))

    def answers(self) -> list[StoreAnswer]:
        """To every message, once everything was delivered."""
        nothing, statuses = np.full(len(self.definition.names), np.nan), {BAD_INPUT: "bad_input"}
        answers = []
        for admission in self.admissions:
            status = statuses.get(admission.status) or Status(admission.status).name.lower()
            is_event = admission.message.kind == Kind.EVENT
            is_answered = is_event and admission.status in (Status.ACCEPTED, Status.DUPLICATE)
            answers.append(StoreAnswer(status, self.features[admission.event] if is_answered else nothing))
        return answers

    def _put(self, sender: object, key: Key, thing: Part | CardMessage) -> None:
        self.channels[sender, key[0], key[1] % NUM_OPERATORS].append((key, thing))

    def _ready(self, key: Key, thing: Part | CardMessage) -> Iterable[ReadyPart]:
        queue = PartQueue(*self.queues[key])
        if isinstance(thing, CardMessage):
            return queue.add_message(thing)
        hidden = self.gate.plan.hidden
        return queue.add_part(thing) if hidden.is_on and key[0] == hidden.terminal else [ReadyPart(thing, None)]

    def _take(self, key: Key, parts: Iterable[ReadyPart]) -> None:
        if key not in self.histories:
            self.histories[key] = KeyHistory(self.key_answers.rules[key[0]])
        for part, message in parts:
            answer = self.key_answers.take(key[0], self.histories[key], part, message)
            if answer is None:
                continue
            columns = [place for place, each in enumerate(self.definition.features) if each.key == key[0]]
            self.features[answer.event][columns] = answer.features
            if answer.message is not None:
                terminal = (self.gate.plan.hidden.terminal, part.terminal)
                self._put((key[0], key[1] % NUM_OPERATORS), terminal, answer.message)


def answers_of_job(
    definition: FeatureDefinition, messages: Sequence[str], *, seed: int, restart_each: int
) -> list[StoreAnswer]:
    """What the parts of the job answer to each message, when channels hand on now and then, and in any order."""
    job, rng = LocalJob(definition), np.random.default_rng(seed)
    for number, text in enumerate(messages):
        if number % restart_each == 0:
            job.restart()
        job.send(text)
        if rng.random() < 0.3:
            job.deliver(rng, int(rng.integers(1, 30)))
    job.deliver(rng, 100 * len(messages))
    assert not any(job.channels.values())
    assert not any(parts or waiting for parts, waiting in job.queues.values())
    return job.answers()
