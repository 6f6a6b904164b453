"""What a party remembers beside its rows: the answers that it has given, whoever asks again.

    STUDY/answers/NAME.safetensors       the last answer, as it was sent, and the party's control variate
    STUDY/answers/NAME.json              to which states it has answered

A party that is started again sends the same answer to the same state: noise is not drawn twice and no update counts
twice. Under a budget it answers to no more states than the budget pays for, even when a coordinator begins anew.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.numpy

from deepseek.bundle.fields import parse_json_object
from deepseek.bundle.manifest import canonical_json
from deepseek.contracts import Float64
from deepseek.files import atomic_file
from deepseek.privacy.accounting.gaussian import affordable_rounds, epsilon_of
from deepseek.privacy.rounds.answer import Answer, LocalParty
from deepseek.privacy.rounds.state import StudyState, read_arrays
from deepseek.privacy.study.definition import StudyFolder
from deepseek.train.private.budget import BudgetSpentError


@dataclass(slots=True)
class AnswerLedger:
    """The answers of one party of one study."""

    folder: StudyFolder
    party: LocalParty

    def answer(self, state: StudyState, state_bytes: bytes) -> Answer:
        """The party's answer to a state, on the disk before it is given. BudgetSpentError where it would cost more than
        the budget has."""
        digest = hashlib.sha256(state_bytes).hexdigest()
        digests = self._digests()
        if digests and digests[-1] == digest and self._path.is_file():
            return self._restore()
        self._check_budget(digests, digest)
        if digests and self.party.control is None and self._path.is_file():
            self._restore()
        answer = self.party.answer(state)
        self._save(answer, self.party.control, [*digests, digest])
        return answer

    @property
    def _path(self) -> Path:
        return self.folder.path / "answers" / f"{self.party.name}.safetensors"

    def _digests(self) -> list[str]:
        """Of the states that were answered to, the latest last."""
        path = self._path.with_suffix(".json")
        if not path.is_file():
            return []
        top = parse_json_object(path.read_bytes(), path.name)
        return list(top["states"]) if top.get("study") == self.folder.study.digest else []

    def _check_budget(self, digests: list[str], digest: str) -> None:
        settings = self.folder.study.settings
        budget = settings.budget
        most = affordable_rounds(settings)
        if budget.noise and len({*digests, digest}) > most:
            num_rounds = len(set(digests))
            is_of_party = budget.unit == "party"
            epsilon = epsilon_of(budget.noise, num_rounds, budget.delta) if is_of_party else budget.epsilon
            raise BudgetSpentError(
                f"{self.party.name} has answered {num_rounds} rounds: epsilon {epsilon:.3g} is spent",
                expected=f"at most {most} rounds, as the budget of the study says",
                fix="end the study; a new one with a new budget has to be signed",
            )

    def _save(self, answer: Answer, control: Float64 | None, digests: list[str]) -> None:
        self._path.parent.mkdir(exist_ok=True, mode=0o700)
        arrays = {"vector": answer.vector, "weight": np.array([answer.weight])}
        if control is not None:
            arrays["control"] = control
        data = safetensors.numpy.save(arrays)
        with atomic_file(self._path) as part:
            part.write_bytes(data)
        with atomic_file(self._path.with_suffix(".json")) as part:
            part.write_bytes(canonical_json({"study": self.folder.study.digest, "states": digests}))

    def _restore(self) -> Answer:
        """The last answer, and with it the party's control variate."""
        arrays = read_arrays(self._path.read_bytes())
        if "control" in arrays:
            self.party.control = np.asarray(arrays["control"], np.float64)
        return Answer(self.party.name, np.asarray(arrays["vector"], np.float64), float(arrays["weight"][0]))
