"""The coordinator of a study: who has to answer what, when a step is over, and what its messages make. No network here.

    coordinator = Coordinator(folder)
    coordinator.receive("clinic-a", place, message)     # kept on the disk, then acknowledged
    coordinator.tick()                                  # closes a step whose deadline has passed

A step is over when every party that is expected has sent its message, or at the deadline with at least min_parties of
them. Fewer: the first step waits on, a later one (of a secure sum) begins the attempt again with those that are there.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from deepseek.contracts import Float64, JsonObject
from deepseek.errors import CheckError
from deepseek.privacy.bundles.pack import StudyOutcome
from deepseek.privacy.bundles.transcript import MessageRecord, RoundRecord, privacy_spent
from deepseek.privacy.parties.held_rows import figures_of_counts
from deepseek.privacy.rounds.course import advance
from deepseek.privacy.study.definition import StudyFolder
from deepseek.privacy.study.refusals import LateError, ReplayError
from deepseek.privacy.transport import steps
from deepseek.privacy.transport.messages import Place, SignedMessage
from deepseek.privacy.transport.store import StudyStore


@dataclass
class Coordinator:
    """One study, from where its folder says it is. Not thread-safe: one event loop calls it."""

    folder: StudyFolder
    members: frozenset[str]  # parties that have signed and whose certificate is trusted
    clock: Callable[[], float] = time.monotonic
    last_seen: dict[str, float] = field(default_factory=dict)  # when each party last asked
    num_refused: int = 0  # requests refused since this process began

    def __post_init__(self) -> None:
        self.study = self.folder.study
        self.store = StudyStore.open(self.folder)
        self.state = self.store.latest_state()
        self.transcript = self.store.transcript(self.state.task)
        self._steps = steps.steps_of(self.study)
        self._began = self.clock()
        self._earlier: dict[str, dict[str, SignedMessage]] = {}  # closed steps of the attempt
        self._enter(self.store.latest_attempt(self.state.task), 0)
        while self.store.closed_parties(self.place) is not None:
            self._follow()

    @property
    def kind(self) -> str | None:
        """What is asked now; None when the study is over."""
        return self.state.kind(self.study)

    @property
    def place(self) -> Place:
        return Place(self.state.task, self._attempt, self._steps[self._step])

    @property
    def place_path(self) -> str | None:
        """The place as parties are told it; None when the study is over."""
        return None if self.kind is None else self.place.path

    def see(self, party: str) -> None:
        """Somebody has asked for work: from the next task on the party is waited for."""
        self.last_seen[party] = self.clock()

    def view(self, party: str) -> JsonObject:
        """What a party has to do: the object of GET /v1/task."""
        if self.kind is None:
            return {"place": None, "kind": None, "asked": False, "payload": {}}
        may_join = self._step == 0 or party in self._senders(self._step - 1)
        is_asked = may_join and party not in self.messages
        payload = steps.payload(self._inputs(), self._steps[self._step], party) if is_asked else {}
        return {"place": self.place.path, "kind": self.kind, "asked": is_asked, "payload": payload}

    def receive(self, place: Place, message: SignedMessage) -> str:
        """Keep a message and say "accepted", or "known" for the same message again. LateError, ReplayError, or what the
        check of its content says."""
        party = message.party
        if place != self.place:
            raise LateError(
                f"the message of {party} is for the step {place.path}, and the study is at {self.place.path}",
                expected="a message for the step that is asked",
                fix="ask again what is to be done; the work of an earlier round is not counted",
            )
        earlier = self.messages.get(party)
        if earlier is not None:
            if earlier.body == message.body:
                return "known"
            raise ReplayError(
                f"{party} has sent another message for the step {place.path}",
                expected="one message a step",
                fix="nothing: the first one counts",
            )
        if self._step and party not in self._senders(self._step - 1):
            raise LateError(
                f"{party} was not there when this round began", expected="a message for the next round", fix="wait"
            )
        steps.check_message_body(self._inputs(), place.step, message)
        self.store.save_message(place, message)
        self.messages[party] = message
        self.tick()
        return "accepted"

    def tick(self) -> None:
        """Close the step where it is over."""
        while self.kind is not None and self._is_over():
            self.store.close_step(self.place, self.messages)
            self._follow()

    def waiting_for(self) -> tuple[str, ...]:
        """Who is expected to send a message now."""
        return tuple(sorted(self._expected_parties() - self.messages.keys())) if self.kind is not None else ()

    def outcome(self) -> StudyOutcome:
        """The finished study. CheckError before its end."""
        if self.kind is not None:
            raise CheckError("the study is not over", expected="all of its rounds", fix="wait for them")
        spent = privacy_spent(self.study, self.transcript.num_training_rounds)
        return StudyOutcome(self.study, self.state, self.transcript, self.transcript.figures, spent)

    def _is_over(self) -> bool:
        fewest, is_late = self.study.settings.rounds.min_parties, self._seconds_left() <= 0
        if len(self.messages) >= fewest and (is_late or not self.waiting_for()):
            return True
        if is_late:
            self._began = self.clock()
            if self._step:
                self.store.begin_attempt(self.state.task, self._attempt + 1)
                self._enter(self._attempt + 1, 0)
        return False

    def _seconds_left(self) -> float:
        return self._began + self.study.settings.rounds.deadline_s - self.clock()

    def _expected_parties(self) -> set[str]:
        """In the first step: who took part in the last task or has asked lately, at the beginning everybody. Later: who
        sent the step before."""
        if self._step:
            return set(self._senders(self._step - 1))
        if not self.transcript.records:
            return set(self.members)
        recent = self.clock() - self.study.settings.rounds.deadline_s
        present = {party for party, seen in self.last_seen.items() if seen >= recent}
        return set(self.transcript.records[-1].parties) | present

    def _senders(self, step: int) -> tuple[str, ...]:
        """Whose messages of a closed step of this attempt count."""
        return self.store.closed_parties(Place(self.state.task, self._attempt, self._steps[step])) or ()

    def _enter(self, attempt: int, step: int) -> None:
        self._attempt, self._step, self._began = attempt, step, self.clock()
        if step == 0:
            self._earlier = {}
        self.messages = self.store.messages(self.place)

    def _follow(self) -> None:
        """Go to the step after a closed one, or finish the task."""
        closed = self._senders(self._step)
        self._earlier[self.place.step] = {name: each for name, each in self.messages.items() if name in closed}
        if self._step + 1 < len(self._steps):
            self._enter(self._attempt, self._step + 1)
        else:
            self._finish()

    def _inputs(self) -> steps.StepInputs:
        return steps.StepInputs(self.study, self.state, self.place.round_id, dict(self._earlier))

    def _finish(self) -> None:
        """Combine the messages of a task, write the record, then the next state. A secure sum that cannot be opened is
        tried again."""
        inputs = self._inputs()
        try:
            combined, weight = steps.combine_messages(inputs)
        except CheckError:
            self.store.begin_attempt(self.state.task, self._attempt + 1)
            self._enter(self._attempt + 1, 0)
            return
        share = len(combined.parties) / len(self.study.parties)
        record = self._record(inputs, combined.parties, self._figures(combined.vector, weight))
        self.store.save_record(record)
        following = advance(self.study, self.state, combined.vector, share)
        self.store.save_state(following)
        self.store.forget_messages(self.state.task)
        self.state, self.transcript = following, self.transcript.append(record)
        self._enter(0, 0)

    def _figures(self, vector: Float64, weight: float) -> dict[str, float]:
        if self.kind != "figures":
            return {}
        return figures_of_counts(self.study.task, vector * weight, self.study.target_scale)

    def _record(self, inputs: steps.StepInputs, parties: tuple[str, ...], figures: dict[str, float]) -> RoundRecord:
        messages = tuple(
            MessageRecord(
                party, step, len(message.body), hashlib.sha256(message.body).hexdigest(), message.signature,
                message.time_ms,
            )
            for step, by_party in inputs.messages.items()
            for party, message in sorted(by_party.items())
        )  # fmt: skip
        dropped = {message.party for message in messages} - set(parties)
        return RoundRecord(
            self.state.task, self.kind or "", self._attempt, tuple(sorted(parties)), tuple(sorted(dropped)), messages,
            hashlib.sha256(self.state.shared_bytes()).hexdigest(), self.transcript.last_digest, figures,
        )  # fmt: skip
