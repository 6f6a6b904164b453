"""What one party answers to a task: a vector of bounded numbers, of which the coordinator needs the mean alone.

    party = LocalParty.of(study, "clinic-a", table)
    answer = party.answer(state)            # Answer(vector (B,), weight)

A task that is asked again, after a lost connection or a coordinator that came back, gets the same answer.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np

from deepseek.contracts import Float64
from deepseek.data import Table
from deepseek.errors import CheckError, InputError
from deepseek.privacy.accounting.records import epsilon_of_rows
from deepseek.privacy.parties.held_rows import LARGEST_LOSS, held_counts, num_counts
from deepseek.privacy.parties.inputs import CLIP, InputRows, num_inputs, read_rows
from deepseek.privacy.parties.learner import learner_of
from deepseek.privacy.parties.training import LocalSteps, train_locally, train_privately, updated_control
from deepseek.privacy.parties.trees import MOST_GRADIENT, MarginCache, TreeObjective
from deepseek.privacy.rounds.state import StudyState, TaskKind
from deepseek.privacy.study.definition import Study
from deepseek.train.private.budget import BudgetSpentError
from deepseek.train.private.noise import secure_normal

MIN_ROWS = 10
MOST_ROWS = 1 << 40  # that a party may say it has


@dataclass(frozen=True, slots=True)
class Answer:
    """Of one party to one task."""

    party: str
    vector: Float64  # (B,), every entry within ±answer_bound()
    weight: float  # of the party in the mean: its rows; 1 under a privacy budget


def answer_size(study: Study, kind: TaskKind, task: int | None = None) -> int:
    """B. `task`: its number, on which the size depends for trees; None: the largest of all tasks."""
    if kind == "training":
        learner = learner_of(study)
        if isinstance(learner, TreeObjective):
            return learner.answer_size(task)
        return learner.num_parameters * (2 if study.settings.rounds.strategy == "scaffold" else 1)
    return 2 * num_inputs(study) if kind == "moments" else num_counts(study.task)


def answer_bound(study: Study, kind: TaskKind) -> float:
    """The largest absolute entry of an answer; what lies beyond is clipped by the party."""
    figures = LARGEST_LOSS**2 if study.task == "regression" else LARGEST_LOSS
    update = study.settings.protection.update_bound
    if study.tree_edges:  # means of gradients and hessians
        update = MOST_GRADIENT if study.task == "regression" else 1.0
    bounds = {"moments": CLIP**2, "training": update, "figures": figures}
    return bounds[kind]


@dataclass(slots=True)
class LocalParty:
    """A party with its rows: those it learns from, and those it only measures on."""

    study: Study
    name: str
    training: InputRows
    held: InputRows
    control: Float64 | None = None  # own control variate of SCAFFOLD
    num_clipped: int = 0  # numbers of answers that were beyond answer_bound()
    _answers: dict[int, Answer] = field(default_factory=dict)
    _margins: MarginCache = field(default_factory=MarginCache)  # of trees

    @classmethod
    def of(cls, study: Study, name: str, table: Table) -> LocalParty:
        """Reads and cuts the rows. InputError for a table of another schema, or of too few rows."""
        rows = read_rows(study, table)
        if len(rows) < MIN_ROWS:
            raise InputError(
                f"{name} has {len(rows)} rows", expected=f"at least {MIN_ROWS} rows", fix="take part with more rows"
            )
        order = _generator(study, name, -1).permutation(len(rows))
        num_held = max(1, round(study.settings.rounds.held_share * len(rows)))
        check_record_budget(study, name, len(rows) - num_held)
        return cls(study, name, rows.take(np.sort(order[num_held:])), rows.take(np.sort(order[:num_held])))

    @property
    def weight(self) -> float:
        """In the mean over parties."""
        budget = self.study.settings.budget
        return 1.0 if budget.noise and budget.unit == "party" else float(len(self.training))

    def answer(self, state: StudyState) -> Answer:
        """To the task of the state. InputError when the study is over, CheckError for numbers that are not finite."""
        kind = state.kind(self.study)
        if kind is None:
            raise InputError("the study is over", expected="a task", fix="ask for the bundle")
        if state.task not in self._answers:
            compute = {"moments": self._moments, "training": self._training_update, "figures": self._figures}[kind]
            with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is looked at below
                vector = compute(state)
            if not np.isfinite(vector).all():
                raise CheckError(
                    f"the answer of {self.name} has numbers that are not finite",
                    expected="finite numbers: under masks nobody else could see that they are not",
                    fix="look for rows with extreme values, or make a study with a lower rounds.lr",
                )
            bound = answer_bound(self.study, kind)
            self.num_clipped += int((np.abs(vector) > bound).sum())
            rounded = np.clip(vector, -bound, bound).astype(np.float32).astype(np.float64)  # as it is sent
            self._answers = {state.task: Answer(self.name, rounded, self.weight)}
        return self._answers[state.task]

    def _moments(self, state: StudyState) -> Float64:
        inputs = self.training.inputs.astype(np.float64)
        return np.concatenate([inputs.mean(axis=0), (inputs**2).mean(axis=0)])

    def _training_update(self, state: StudyState) -> Float64:
        settings, objective = self.study.settings, learner_of(self.study)
        rounds, budget = settings.rounds, settings.budget
        if isinstance(objective, TreeObjective):
            clip_norm = budget.clip_norm if budget.noise else np.inf
            means = objective.histograms(state.parameters, state.task, self.training, self._margins, clip_norm)
            if not budget.noise:
                return means
            deviation = budget.noise * objective.row_norm(clip_norm) / len(self.training)
            return np.asarray(means + deviation * secure_normal(len(means)), np.float64)
        rows = state.standardization.apply(self.training)
        if budget.noise and budget.unit == "record":
            return train_privately(objective, state.parameters, rows, settings).change
        rng = _generator(self.study, self.name, state.task)
        if rounds.strategy != "scaffold":
            return self._add_noise(train_locally(objective, state.parameters, rows, rounds, rng).change)
        own = self.control if self.control is not None else np.zeros(objective.num_parameters)
        steps: LocalSteps = train_locally(objective, state.parameters, rows, rounds, rng, state.control - own)
        self.control = updated_control(own, state.control, steps, rounds.lr)
        return np.concatenate([steps.change, self.control - own])

    def _add_noise(self, change: Float64) -> Float64:
        """The update, clipped to its longest and with this party's part of the noise where there is a budget: the parts
        of min_parties make the whole."""
        budget = self.study.settings.budget
        if not budget.noise:
            return change
        clipped = change * min(1.0, budget.clip_norm / max(float(np.linalg.norm(change)), 1e-12))
        deviation = budget.noise * budget.clip_norm / np.sqrt(self.study.settings.rounds.min_parties)
        return np.asarray(clipped + deviation * secure_normal(len(change)), np.float64)

    def _figures(self, state: StudyState) -> Float64:
        objective, rows = learner_of(self.study), state.standardization.apply(self.held)
        counts = held_counts(self.study.task, objective.probabilities(state.parameters, rows.inputs), rows.target)
        return counts / self.weight


def check_weight(study: Study, name: str, weight: float) -> None:
    """CheckError for a weight that no honest party has: a huge one makes everybody else's numbers vanish."""
    budget = study.settings.budget
    counts_parties = budget.noise > 0 and budget.unit == "party"
    if not 0 < weight <= MOST_ROWS or (counts_parties and weight != 1):
        raise CheckError(
            f"{name} says that its answer weighs {weight:g}",
            expected="1, for every party counts once under this budget" if counts_parties else "its number of rows",
            fix="check that the party has the study's own version, and look at what it sends",
        )


def check_sum_hides_rows(study: Study, num_rows: float) -> None:
    """CheckError for the masked sum over so few rows that single ones could be read out of it: the change of a first
    layer of as many units as rows is as many sums of rows, and can be taken apart (Dimitrov et al. 2024)."""
    settings = study.settings
    units = (*settings.model.widths, study.num_margins)[0]
    if settings.model.kind in ("linear", "perceptron") and not settings.budget.noise and num_rows <= units:
        raise CheckError(
            f"the sum would be over {num_rows:.0f} rows, and the first layer has {units} units",
            expected=f"more than {units} rows: of fewer, single ones can be read out of their sum",
            fix="take part with more rows, or make a study of a narrower first layer or with a budget",
        )


def check_record_budget(study: Study, name: str, num_rows: int) -> None:
    """BudgetSpentError where all rounds by a party of so many rows to learn from would cost its rows more than the
    study's budget of records."""
    settings, budget = study.settings, study.settings.budget
    if budget.unit == "party" or not budget.noise or budget.epsilon is None:
        return
    epsilon = epsilon_of_rows(settings, num_rows, settings.num_training_tasks)
    if epsilon > budget.epsilon:
        raise BudgetSpentError(
            f"{name} would spend epsilon {epsilon:.3g} on each of its {num_rows} rows",
            expected=f"at most {budget.epsilon:g}, as the budget of the study says",
            fix="take part with more rows, or make a study of fewer rounds, smaller batches or more noise",
        )


def _generator(study: Study, name: str, task: int) -> np.random.Generator:
    """Random numbers that this party uses for this task, whoever computes them: a simulation meets the real study."""
    text = f"{study.settings.rounds.seed} {name} {task}".encode()
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text).digest()[:8], "little"))
