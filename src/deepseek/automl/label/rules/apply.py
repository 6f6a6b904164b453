"""Rules on a project: what each covers, where they conflict, how right they are, and labels with a weight.

    result = run_rules(project, Path("rules.toml"))             # a report
    result = run_rules(project, Path("rules.toml"), keep=True)  # and labels of what they are certain of

Rules label nothing that is to be tested on; how right they are is measured there, by what people said.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepseek.automl.label.choose.agreement import decide_labels
from deepseek.automl.label.choose.cache import load_features
from deepseek.automl.label.project.project import Project
from deepseek.automl.label.project.records import Item
from deepseek.automl.label.project.values import check_class
from deepseek.automl.label.rules.code import find_functions, run_function
from deepseek.automl.label.rules.definition import ABSTAIN, read_rules
from deepseek.automl.label.rules.label_model import majority_vote
from deepseek.automl.label.rules.learned_votes import WeighedVotes, weigh_votes
from deepseek.automl.label.rules.votes import vote
from deepseek.contracts import Float64, JsonObject
from deepseek.errors import InputError
from deepseek.results import Result
from deepseek.train.tabular.intervals import exact_interval

LEAST_CONFIDENCE = 0.6  # of a label that is kept


@dataclass(frozen=True, slots=True)
class RuleReport:
    """One rule."""

    name: str
    num_votes: int
    coverage: float  # share of the items that it labels, 0..1
    conflicts: float  # share of its votes that another rule contradicts
    accuracy: float  # mean chance of what it says, by all rules, people's labels and the model of the items
    weight: float  # what a vote counts: less where other rules err with it
    num_known: int  # votes on items that people labeled
    num_right: int  # of these
    low: float  # the exact 95 % interval of their share
    high: float
    num_raised: int = 0
    first_error: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class RulesResult(Result):
    """What rules say of a project."""

    project: Path
    rules: tuple[RuleReport, ...]
    coverage: float  # share of the items that one rule at least labels
    num_tested: int  # labeled items of the test with a vote
    accuracy: float | None  # of the label model on these
    majority: float | None  # of majority vote on these, a tie being wrong in part
    num_kept: int | None  # labels that were kept; None where none were asked for

    def to_dict(self) -> JsonObject:
        return {
            "project": str(self.project), "rules": [asdict(rule) for rule in self.rules], "coverage": self.coverage,
            "num_tested": self.num_tested, "accuracy": self.accuracy, "majority": self.majority,
            "num_kept": self.num_kept,
        }  # fmt: skip

    def summary(self) -> str:
        text = f"{len(self.rules)} rules label {100 * self.coverage:.0f} % of the items."
        if self.accuracy is not None and self.majority is not None:
            text += (
                f" On {self.num_tested:,} labeled test items with a vote they are right in {100 * self.accuracy:.1f} % "
                f"(majority vote: {100 * self.majority:.1f} %)."
            )
        else:
            text += " How right they are is measured once items of the test are labeled."
        if self.num_kept is not None:
            text += f" {self.num_kept:,} labels are kept with their confidence."
        return text


def run_rules(project: Project, path: Path, *, allow_code: bool = False, keep: bool = False) -> RulesResult:
    """Ask the rules of a file (.toml, or .py with `allow_code`). InputError for a project without classes, for rules
    that do not fit it, and for code without leave."""
    classes = project.definition.labels
    if not project.definition.is_class:
        raise InputError(
            f"rules label classes, not {project.definition.task}", expected="binary or multiclass", fix="-"
        )
    items = [item for item in project.store.items() if item.same_as is None]
    names, votes, faults = _collect_votes(project, path, items, allow_code)
    tests = np.array([item.is_test for item in items])
    known = _known_classes(project, items)
    gold = np.where(tests, ABSTAIN, known)
    weighed = weigh_votes(
        votes, len(classes), gold=gold, dense=_numbers_of(project, items), is_held=tests, seed=project.definition.seed
    )
    chances = weighed.chances
    reports = [_report_rule(name, rule, votes, known, weighed, *faults[rule]) for rule, name in enumerate(names)]
    judged = np.flatnonzero(tests & (known >= 0) & (votes >= 0).any(axis=1))
    accuracy = majority = None
    if len(judged):
        accuracy = float((chances[judged].argmax(axis=1) == known[judged]).mean())
        shares = majority_vote(votes[judged], len(classes))
        best = shares == shares.max(axis=1, keepdims=True)
        majority = float((best[np.arange(len(judged)), known[judged]] / best.sum(axis=1)).mean())
    num_kept = _keep(project, path, items, votes, chances, known) if keep else None
    coverage = float((votes >= 0).any(axis=1).mean())
    return RulesResult(project.folder, tuple(reports), coverage, len(judged), accuracy, majority, num_kept)


def rule_labels(project: Project) -> dict[int, tuple[str, float]]:
    """The labels that rules gave, with their chance, by item."""
    rows = project.store.connection.execute("SELECT item, value, probability FROM rule_labels").fetchall()
    return {item: (value, probability) for item, value, probability in rows}


def _numbers_of(project: Project, items: Sequence[Item]) -> Float64 | None:
    """(N, D) of the items; None where no column says anything, and where there are more than are looked at."""
    try:
        features = load_features(project)
    except InputError:
        return None
    places = features.place_of()
    if any(item.number not in places for item in items):
        return None
    return features.dense[[places[item.number] for item in items]]


def _collect_votes(
    project: Project, path: Path, items: Sequence[Item], allow_code: bool
) -> tuple[list[str], NDArray[np.int64], list[tuple[int, str]]]:
    """Names, votes (N, J), and of each rule how often it raised and the first error."""
    records = [item.content for item in items]
    place = {name: code for code, name in enumerate(project.definition.labels)}
    if path.suffix == ".py":
        if not allow_code:
            raise InputError(
                f"{path.name} is code, and would run with your rights", expected="consent, or rules in TOML",
                fix="read it; then add --allow-code",
            )  # fmt: skip
        answers = [run_function(path, name, records) for name in find_functions(path)]
        for answer in answers:
            for label in set(answer.labels) - {None}:
                _check_answer(answer.name, label, project.definition.labels)
    else:
        rules = read_rules(path, project.definition)
        answers = vote(rules, records, project.definition, [item.key for item in items])
    names, faults = [each.name for each in answers], [(each.num_raised, each.first_error) for each in answers]
    codes = [[ABSTAIN if label is None else place[label] for label in each.labels] for each in answers]
    return names, np.array(codes, np.int64).T, faults


def _check_answer(name: str, label: str | None, labels: Sequence[str]) -> None:
    try:
        check_class(label, labels)
    except InputError as error:
        raise InputError(
            f"{name}: {error.message}", expected=error.expected, fix="return one of these, or None"
        ) from error


def _known_classes(project: Project, items: Sequence[Item]) -> NDArray[np.int64]:
    """(N,) the classes that people gave, ABSTAIN where they did not."""
    place = {name: code for code, name in enumerate(project.definition.labels)}
    decided = {each.item: place[str(each.value)] for each in decide_labels(project)}
    return np.array([decided.get(item.number, ABSTAIN) for item in items], np.int64)


def _report_rule(
    name: str, rule: int, votes: NDArray[np.int64], known: NDArray[np.int64], weighed: WeighedVotes,
    num_raised: int, first_error: str,
) -> RuleReport:  # fmt: skip
    own = votes[:, rule]
    speaks = own >= 0
    others = np.delete(votes, rule, axis=1)
    against = ((others >= 0) & (others != own[:, None])).any(axis=1) & speaks
    judged = speaks & (known >= 0)
    num_right = int((own[judged] == known[judged]).sum())
    low, high = exact_interval(num_right, int(judged.sum()))
    chances = weighed.chances[speaks, own[speaks]]
    mean_chance = float(chances.mean()) if len(chances) else float(weighed.model.accuracy[rule])
    return RuleReport(
        name, int(speaks.sum()), float(speaks.mean()), float(against.sum() / max(speaks.sum(), 1)),
        mean_chance, float(weighed.model.weight[rule]), int(judged.sum()), num_right, low, high, num_raised,
        first_error,
    )  # fmt: skip


def _keep(
    project: Project, path: Path, items: Sequence[Item], votes: NDArray[np.int64], chances: Float64,
    known: NDArray[np.int64],
) -> int:  # fmt: skip
    """Put what the rules are certain of in the place of what rules said before."""
    best = chances.argmax(axis=1)
    certain = chances.max(axis=1) >= LEAST_CONFIDENCE
    rows = [
        (item.number, project.definition.labels[best[place]], float(chances[place, best[place]]))
        for place, item in enumerate(items)
        if certain[place] and not item.is_test and known[place] == ABSTAIN and (votes[place] >= 0).any()
    ]
    origin = json.dumps({"file": path.name, "num_rules": votes.shape[1]}, ensure_ascii=False)
    with project.store.transaction() as run:
        run.execute("DELETE FROM rule_labels")
        run.executemany("INSERT INTO rule_labels VALUES (?, ?, ?)", rows)
        run.execute("INSERT INTO meta VALUES ('rules', ?) ON CONFLICT DO UPDATE SET value = excluded.value", (origin,))
    return len(rows)
