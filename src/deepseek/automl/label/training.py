"""Labels of a project as rows for `ship`: what to learn from with its confidence, and what to test on.

    rows = training_rows(Path("claims"))
    ship(rows.train, test=rows.test, target=rows.target, weights=rows.weights, kinds=rows.kinds, files=rows.files)

Copies of an item have its label as well. The rows to test on are those that were drawn at random when the project was
made; they weigh the same, and none is learned from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deepseek.automl.label.choose.agreement import DecidedLabel, decide_labels
from deepseek.automl.label.project.additions import count_served
from deepseek.automl.label.project.project import Project
from deepseek.automl.label.project.records import FILE_KINDS, Item
from deepseek.automl.label.project.schema import FILE_NAME
from deepseek.automl.label.rules.apply import rule_labels
from deepseek.data.table.read import read_table
from deepseek.data.table.table import Table
from deepseek.errors import InputError

CONFIDENCE_COLUMN = "label_confidence"
LEAST_CONFIDENCE = 0.05  # a label that says nothing still has a weight above zero
LEAST_TEST, LEAST_TRAIN = 5, 10
CERTAIN = 0.95
NAMED_KINDS = ("text", *FILE_KINDS)  # of columns that `ship` is told, and does not find out again


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """What `ship` takes from a project."""

    train: Table
    test: Table
    target: str
    weights: str | None  # the column of confidences; None where all of them are 1
    kinds: Mapping[str, str]
    files: Path | None
    task: str


def is_project(path: Path) -> bool:
    """Whether a folder holds a project of labels."""
    return (path / FILE_NAME).is_file()


def training_rows(folder: Path) -> TrainingRows:
    """InputError where there are too few labels, and for boxes, masks and spans, which `ship` does not learn."""
    with Project.open(folder) as project:
        definition = project.definition
        if not definition.is_class and definition.task != "regression":
            fix = "deepseek label export, then deepseek recipe defects" if definition.task == "boxes" else "export them"
            raise InputError(f"{folder} holds {definition.task}", expected="a project of classes or numbers", fix=fix)
        decided = _rule_decisions(project) | {each.item: each for each in decide_labels(project)}
        items = [item for item in project.store.items() if (item.same_as or item.number) in decided and not item.fault]
        train, test = ([item for item in items if item.is_test == is_test] for is_test in (False, True))
        _check_enough(project, train, test, decided)
        certain = all(decided[item.same_as or item.number].confidence == 1 for item in train)
        note = _describe(project, decided)
        return TrainingRows(
            replace(_table(project, train, decided, weighted=not certain), notes=(note,)),
            _table(project, test, decided, weighted=not certain, is_test=True), definition.target,
            None if certain else CONFIDENCE_COLUMN,
            {name: kind for name, kind in definition.kinds.items() if kind in NAMED_KINDS},
            Path(definition.root) if definition.root else None, definition.task,
        )  # fmt: skip


def _rule_decisions(project: Project) -> dict[int, DecidedLabel]:
    """What rules are certain of, where nobody has labeled; of what is tested on they say nothing."""
    return {item: DecidedLabel(item, value, chance, 0) for item, (value, chance) in rule_labels(project).items()}


def _table(
    project: Project,
    items: Sequence[Item],
    decided: Mapping[int, DecidedLabel],
    *,
    weighted: bool,
    is_test: bool = False,
) -> Table:
    """Contents, labels and confidences as a table."""
    labels = [decided[item.same_as or item.number] for item in items]
    columns: dict[str, list[object]] = {
        name: [item.content[name] for item in items] for name in project.definition.kinds
    }
    columns[project.definition.target] = [label.value for label in labels]
    if weighted:
        columns[CONFIDENCE_COLUMN] = [1.0 if is_test else max(label.confidence, LEAST_CONFIDENCE) for label in labels]
    return read_table(columns)


def _check_enough(
    project: Project, train: Sequence[Item], test: Sequence[Item], decided: Mapping[int, DecidedLabel]
) -> None:
    """InputError for labels that no model can be made or judged from."""
    for name, part, least in (("to learn from", train, LEAST_TRAIN), ("to test on", test, LEAST_TEST)):
        if len(part) < least:
            raise InputError(
                f"{len(part)} items {name} are labeled", expected=f"at least {least}",
                fix=f"label more: deepseek label serve {project.folder}",
            )  # fmt: skip
    values = {str(decided[item.same_as or item.number].value) for item in train}
    if project.definition.is_class and len(values) < 2:
        raise InputError(
            f"all labels to learn from are {values.pop()!r}",
            expected="two classes",
            fix="label examples of another class",
        )


def _describe(project: Project, decided: Mapping[int, DecidedLabel]) -> str:
    """How the labels came to be, in a sentence that stays with the bundle."""
    people = Counter(label.person for label in project.store.labels() if label.state == "label")
    named = ", ".join(f"{name} {count:,}" for name, count in people.most_common(5))
    unsure = sum(each.confidence < CERTAIN for each in decided.values())
    num_rules = sum(not each.num_people for each in decided.values())
    words = f"labels of {len(decided) - num_rules:,} items by {len(people)} ({named})"
    words += f" and of {num_rules:,} by rules" if num_rules else ""
    num_served = count_served(project.store, among=decided)
    words += f"; {num_served:,} of the items came from a server that was unsure of them" if num_served else ""
    return words + (f"; {unsure:,} of them disagree or are not certain and weigh less" if unsure else "")
