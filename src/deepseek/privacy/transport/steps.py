"""What each step of a task asks of a party, how its message is checked, and what the messages of all steps make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from deepseek.contracts import JsonObject
from deepseek.errors import CheckError
from deepseek.privacy.rounds.aggregate import Combined, check_answer
from deepseek.privacy.rounds.answer import answer_bound, answer_size, check_weight
from deepseek.privacy.rounds.course import combine
from deepseek.privacy.rounds.state import StudyState
from deepseek.privacy.study.definition import Study
from deepseek.privacy.sums.field import from_field
from deepseek.privacy.sums.protocol import PublicKeys, open_sum
from deepseek.privacy.transport.messages import (
    PLAIN_STEPS,
    SECURE_STEPS,
    SignedMessage,
    answer_from_bytes,
    keys_from_bytes,
    masked_from_bytes,
    revealed_from_bytes,
    shares_from_bytes,
)

Messages = Mapping[str, Mapping[str, SignedMessage]]  # of each step, by party


@dataclass(frozen=True, slots=True)
class StepInputs:
    """Where an attempt stands."""

    study: Study
    state: StudyState
    round_id: str
    messages: Messages = field(default_factory=dict)  # of the steps that are closed

    @property
    def size(self) -> int:
        """B, of an answer."""
        return answer_size(self.study, self.state.kind(self.study) or "training", self.state.task)


def steps_of(study: Study) -> tuple[str, ...]:
    """The steps of every task of a study."""
    return SECURE_STEPS if study.settings.protection.secure_sums else PLAIN_STEPS


def payload(inputs: StepInputs, step: str, party: str) -> JsonObject:
    """What a party needs for a step, beside the state."""
    if step == "shares":
        return {
            "keys": {
                name: {"body": message.body.hex(), "time_ms": message.time_ms, "signature": message.signature}
                for name, message in inputs.messages["keys"].items()
            }
        }
    if step == "masked":
        sealed = {
            name: shares_from_bytes(message.body)[party].hex() for name, message in inputs.messages["shares"].items()
        }
        return {"sealed": sealed}
    if step == "unmask":
        return {"survivors": sorted(inputs.messages["masked"])}
    return {}


def check_message_body(inputs: StepInputs, step: str, message: SignedMessage) -> None:
    """MalformedError or CheckError for a body that does not fit the step."""
    if step == "answer":
        answer = answer_from_bytes(message.party, message.body)
        check_answer(answer, inputs.size)
        check_weight(inputs.study, message.party, answer.weight)
    elif step == "keys":
        check_weight(inputs.study, message.party, keys_from_bytes(message.body)[1])
    elif step == "masked":
        masked_from_bytes(message.party, message.body, inputs.size)
    elif step == "shares":
        receivers = shares_from_bytes(message.body).keys()
        if receivers != inputs.messages["keys"].keys():
            raise CheckError(
                f"{message.party} sent shares for other parties than those of the round",
                expected=", ".join(sorted(inputs.messages["keys"])), fix="ask again what is to be done",
            )  # fmt: skip
    else:
        revealed_from_bytes(message.body)


def combine_messages(inputs: StepInputs) -> tuple[Combined, float]:
    """The mean (B,) of a task over the parties whose numbers count, and the sum of their weights."""
    if "answer" in inputs.messages:
        bodies = inputs.messages["answer"]
        answers = [answer_from_bytes(name, bodies[name].body) for name in sorted(bodies)]
        return combine(inputs.study, inputs.state, answers), sum(answer.weight for answer in answers)
    return _open_messages(inputs)


def _open_messages(inputs: StepInputs) -> tuple[Combined, float]:
    keys: dict[str, PublicKeys] = {}
    weights: dict[str, float] = {}
    for name, message in inputs.messages["keys"].items():
        keys[name], weights[name] = keys_from_bytes(message.body)
    masked = {
        name: masked_from_bytes(name, message.body, inputs.size) for name, message in inputs.messages["masked"].items()
    }
    revealed = {name: revealed_from_bytes(message.body) for name, message in inputs.messages["unmask"].items()}
    total = open_sum(
        masked, keys, sorted(inputs.messages["shares"]), revealed, inputs.study.settings.rounds.min_parties,
        inputs.round_id,
    )  # fmt: skip
    bound = answer_bound(inputs.study, inputs.state.kind(inputs.study) or "training")
    weight = sum(weights[name] for name in masked)
    mean = from_field(total, bound, len(keys)) * (max(weights.values()) / weight)
    return Combined(mean, tuple(sorted(masked))), weight
