"""The entries of a log -> the trials of a study, as proposals and reports look at them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from deepseek.automl.study.definition import Definition
from deepseek.automl.study.log import Entry
from deepseek.automl.study.space import Value

State = Literal["pending", "done", "failed", "history", "withdrawn"]


@dataclass(frozen=True, slots=True)
class Trial:
    """One recipe and what is known of it."""

    number: int
    recipe: Mapping[str, Value]
    state: State
    values: Mapping[str, float] = field(default_factory=dict)  # of all that is measured, when done or history
    reason: str = ""  # why it was proposed, where history comes from, or why it has failed
    chance: float | None = None  # that every limit holds, as the model had it when the trial was proposed
    time: str = ""  # of the last that was said of it

    @property
    def is_measured(self) -> bool:
        return self.state in ("done", "history")


def collect_trials(entries: Iterable[Entry]) -> list[Trial]:
    """In the order of their numbers; the last that was told of a trial, and not taken back, counts."""
    stages: dict[int, list[Trial]] = {}  # of each trial, what it was after each entry that counts
    for entry in entries:
        number, at = entry.trial, entry.time
        if entry.event == "ask":
            stages[number] = [Trial(number, entry.recipe, "pending", {}, entry.reason, entry.chance, at)]
        elif entry.event == "history":
            stages[number] = [Trial(number, entry.recipe, "history", entry.values, entry.reason, None, at)]
        elif number in stages:
            last = stages[number][-1]
            if entry.event == "undo":
                _take_back(stages[number], at)
            elif entry.event == "fail":
                stages[number].append(replace(last, state="failed", reason=entry.reason, time=at))
            else:
                state: State = "history" if last.state == "history" else "done"
                stages[number].append(replace(last, state=state, values=entry.values, time=at))
    return [stages[number][-1] for number in sorted(stages)]


def _take_back(stages: list[Trial], at: str) -> None:
    """The last stage of a trial goes; of its first one nothing is left but that it was withdrawn."""
    if len(stages) > 1:
        stages.pop()
        stages[-1] = replace(stages[-1], time=at)
    else:
        stages[0] = replace(stages[0], state="withdrawn", values={}, time=at)


def holding(definition: Definition, trials: Iterable[Trial]) -> list[Trial]:
    """The measured trials that break no constraint."""
    return [trial for trial in trials if trial.is_measured and not definition.is_broken(trial.values)]


def best_trial(definition: Definition, trials: Iterable[Trial]) -> Trial | None:
    """Of those that hold, the best by the first objective; None where none holds."""
    objective = definition.objectives[0]
    return min(
        holding(definition, trials), key=lambda trial: objective.sign * trial.values[objective.name], default=None
    )


def pareto_front(definition: Definition, trials: Iterable[Trial]) -> list[Trial]:
    """Of those that hold, the trials that no other beats in every objective, the best by the first one first."""
    candidates = holding(definition, trials)

    def losses(trial: Trial) -> tuple[float, ...]:
        return tuple(objective.sign * trial.values[objective.name] for objective in definition.objectives)

    front = []
    for trial in candidates:
        own = losses(trial)
        others = (losses(other) for other in candidates if other is not trial)
        if not any(all(a <= b for a, b in zip(each, own, strict=True)) and each != own for each in others):
            front.append(trial)
    return sorted(front, key=losses)
