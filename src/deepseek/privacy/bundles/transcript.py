"""What a study leaves as evidence: who took part in each round, what left each house in bytes and kind, what is spent.

The transcript is a chain: each record holds the digest of the one before, of the parameters that the round began with
and of every message that came in, with its party's signature where there was a network between them.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass, field

from deepseek.bundle.manifest import canonical_json
from deepseek.contracts import JsonObject
from deepseek.privacy.accounting import records
from deepseek.privacy.accounting.gaussian import MEANING, epsilon_of
from deepseek.privacy.study.definition import Study

WHAT_LEAVES = {
    "moments": "the mean of each input and of its square over the party's rows",
    "training": "the change of the model's parameters after the party's own steps; of trees, mean gradients by bin",
    "figures": "counts over held-out rows: rows, right ones, losses, and a histogram of scores by class",
}


@dataclass(frozen=True, slots=True)
class MessageRecord:
    """One message that left a house."""

    party: str
    step: str  # "answer", or a step of the secure sum
    num_bytes: int
    sha256: str  # of its body
    signature: str  # Ed25519 by the party's key, hexadecimal; "" in a simulation
    time_ms: int = 0  # of the signature, milliseconds since 1970


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """One task, done."""

    task: int
    kind: str
    attempt: int
    parties: tuple[str, ...]  # whose answers count
    dropped: tuple[str, ...]  # who began and did not end, or was refused
    messages: tuple[MessageRecord, ...]
    state_sha256: str  # of the state that the parties answered to
    previous: str  # digest of the record before; "" of the first
    figures: dict[str, float] = field(default_factory=dict)  # of the task "figures"

    @property
    def digest(self) -> str:
        plain: JsonObject = asdict(self)
        return hashlib.sha256(canonical_json(plain)).hexdigest()


@dataclass(frozen=True, slots=True)
class PrivacySpent:
    """What the budget is spent on, and what it means."""

    epsilon: float
    delta: float
    noise: float
    num_rounds: int
    meaning: str
    unit: str = "party"  # what two neighboring studies differ in


def privacy_spent(study: Study, num_rounds: int) -> PrivacySpent | None:
    """Of a study after that many training rounds; None where it promises nothing."""
    budget = study.settings.budget
    if not budget.noise:
        return None
    if budget.unit == "record":
        return PrivacySpent(
            budget.epsilon or math.inf, budget.delta, budget.noise, num_rounds, records.MEANING, "record"
        )
    epsilon = epsilon_of(budget.noise, num_rounds, budget.delta)
    return PrivacySpent(epsilon, budget.delta, budget.noise, num_rounds, MEANING)


@dataclass(frozen=True, slots=True)
class Transcript:
    """All records of a study."""

    study_sha256: str
    records: tuple[RoundRecord, ...] = ()

    def append(self, record: RoundRecord) -> Transcript:
        return Transcript(self.study_sha256, (*self.records, record))

    @property
    def last_digest(self) -> str:
        return self.records[-1].digest if self.records else ""

    def is_chained(self) -> bool:
        """Whether each record names the one before it."""
        digests = ["", *(record.digest for record in self.records)]
        return all(record.previous == before for record, before in zip(self.records, digests, strict=False))

    def bytes_by_party(self) -> dict[str, int]:
        """What left each house in all."""
        totals: dict[str, int] = {}
        for record in self.records:
            for message in record.messages:
                totals[message.party] = totals.get(message.party, 0) + message.num_bytes
        return dict(sorted(totals.items()))

    @property
    def figures(self) -> dict[str, float]:
        """On the held-out rows of all parties; empty where there was no such task."""
        return self.records[-1].figures if self.records else {}

    @property
    def num_training_rounds(self) -> int:
        return sum(record.kind in ("training", "sums") for record in self.records)  # "sums": of a vertical study

    def to_dict(self) -> JsonObject:
        """evidence/transcript.json."""
        return {"study": self.study_sha256, "records": [asdict(record) for record in self.records]}
