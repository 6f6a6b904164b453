"""The verbs of the learning path, as the shell and the page call them.

path = open_path()                                   # the labs that are there, and who learns here
begin(path, "first_bundle")                          # a folder with the task
check(path, "first_bundle").grade.score
next_hint(path, "first_bundle").text.en
overview(path).next_lab
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from deepseek.contracts import JsonObject
from deepseek.errors import DeepseekError, MissingError
from deepseek.learn.definition.catalog import Catalog, LevelTable, read_catalog
from deepseek.learn.definition.installed import check_unchanged, installed_distribution
from deepseek.learn.definition.lab import LEVELS, Lab, Level
from deepseek.learn.definition.matrix import Matrix, read_matrix
from deepseek.learn.definition.needs import check_installed
from deepseek.learn.grading.grade import grade_folder
from deepseek.learn.grading.records import CheckResult, Grade
from deepseek.learn.learner.place import Learner, LearnerPlace, lab_seed, read_learner
from deepseek.learn.learner.progress import Passed, Progress
from deepseek.learn.learner.workspace import Workspace, begin_lab, check_owner, find_workspace
from deepseek.look.words import Text
from deepseek.results import Result


@dataclass(frozen=True)
class LearningPath:
    """The labs that are there, and who learns here."""

    catalog: Catalog
    place: LearnerPlace
    learner: Learner

    def seed(self, lab: Lab) -> int:
        return lab_seed(self.learner.id, lab.data_seed_name)

    @property
    def matrix(self) -> Matrix:
        return read_matrix(self.catalog)


@dataclass(frozen=True, slots=True)
class LabState:
    """How far a learner is with one lab."""

    lab: Lab
    passed: Passed | None
    folder: Path | None  # where it was begun
    num_gradings: int
    last_score: int | None

    @property
    def status(self) -> str:
        return "passed" if self.passed else "begun" if self.folder or self.num_gradings else "open"

    def to_dict(self) -> JsonObject:
        table = self.lab.table
        return {
            "lab": self.lab.id, "title": table.title.text._asdict(), "level": table.level, "module": table.module,
            "hours": table.hours, "requires": list(table.requires), "status": self.status,
            "score": self.passed.score if self.passed else self.last_score, "num_checks": self.num_gradings,
            "folder": None if self.folder is None else str(self.folder),
        }  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Overview(Result):
    """Where a learner is, and what comes next."""

    states: tuple[LabState, ...]
    next_lab: Lab | None
    levels: dict[Level, LevelTable]
    set_aside: Path | None  # a progress file that could not be read

    def of_level(self, level: Level) -> tuple[LabState, ...]:
        return tuple(state for state in self.states if state.lab.table.level == level)

    def is_whole(self, level: Level) -> bool:
        """Whether this version has all the labs of a level."""
        return level in self.levels and len(self.of_level(level)) >= self.levels[level].num_labs

    def to_dict(self) -> JsonObject:
        levels = {
            level: {
                "passed": sum(state.passed is not None for state in self.of_level(level)),
                "labs": len(self.of_level(level)), "planned": table.num_labs, "whole": self.is_whole(level),
                "hours": sum(state.lab.table.hours for state in self.of_level(level)),
            }
            for level, table in self.levels.items()
        }  # fmt: skip
        return {
            "next": self.next_lab and self.next_lab.id, "levels": levels,
            "labs": [state.to_dict() for state in self.states],
            "set_aside": None if self.set_aside is None else str(self.set_aside),
        }  # fmt: skip

    def summary(self) -> str:
        num_passed = sum(state.passed is not None for state in self.states)
        if self.next_lab is None:
            return f"all {len(self.states)} labs are passed"
        return f"{num_passed} of {len(self.states)} labs are passed; next: deepseek learn start {self.next_lab.id}"


@dataclass(frozen=True, slots=True, eq=False)
class Checked(Result):
    """A grading, and where to go from there."""

    grade: Grade
    folder: Path
    hint: Text | None  # the first step of help for what failed first
    next_lab: Lab | None
    set_aside: Path | None = None

    def to_dict(self) -> JsonObject:
        return {
            **self.grade.to_dict(), "folder": str(self.folder), "hint": self.hint and self.hint._asdict(),
            "next": self.next_lab and self.next_lab.id,
        }  # fmt: skip

    def summary(self) -> str:
        return self.grade.summary()


@dataclass(frozen=True, slots=True, eq=False)
class Hint(Result):
    """One step of help with one check."""

    lab: str
    check: str
    title: Text
    text: Text
    number: int
    total: int

    def to_dict(self) -> JsonObject:
        return {
            "lab": self.lab, "check": self.check, "hint": self.text._asdict(), "number": self.number,
            "total": self.total,
        }  # fmt: skip

    def summary(self) -> str:
        return f"{self.check}, hint {self.number} of {self.total}: {self.text.en}"


def open_path(place: LearnerPlace | None = None) -> LearningPath:
    """The labs of this package and of DEEPSEEK_LABS, and the learner of this machine."""
    place = place or LearnerPlace.default()
    return LearningPath(read_catalog(), place, read_learner(place))


def overview(path: LearningPath) -> Overview:
    """Where the learner is."""
    with Progress.open(path.place) as progress:
        passed, folders, counts = progress.best_gradings(), progress.folders(), progress.num_gradings()
        lasts = {lab: progress.last(lab) for lab in counts}
        aside = progress.set_aside
    states = []
    for lab in path.catalog.labs:
        last = lasts.get(lab.id)
        states.append(
            LabState(
                lab,
                passed.get(lab.id),
                folders.get(lab.id),
                counts.get(lab.id, 0),
                None if last is None else last.score,
            )
        )
    levels = {level: path.catalog.levels[level] for level in LEVELS if level in path.catalog.levels}
    return Overview(tuple(states), path.catalog.next_lab(passed), levels, aside)


def begin(path: LearningPath, name: str, out: Path | None = None, *, restore: bool = False) -> Workspace:
    """Make the folder of a lab, in `out` or under its name here. InputError where something is there, and where what
    the lab needs is not installed."""
    lab = path.catalog.lab(name)
    check_installed(lab)
    with Progress.open(path.place) as progress:
        if out is None and restore:
            out = progress.folder(lab.id)
        workspace = begin_lab(lab, out or Path(lab.id), path.learner, path.seed(lab), restore=restore)
        progress.keep_folder(lab.id, workspace.folder)
    return workspace


def check(
    path: LearningPath,
    target: str | None = None,
    *,
    on_check: Callable[[CheckResult], None] | None = None,
    fresh_seed: int | None = None,
) -> Checked:
    """Grade a lab by its name, by its folder, or in the folder that one stands in, and keep the grade."""
    with Progress.open(path.place) as progress:
        workspace = _find_target(path, progress, target)
        lab = path.catalog.lab(workspace.lab)
        check_owner(workspace, lab, path.learner)
        check_unchanged(lab, installed_distribution())
        check_installed(lab)
        grade = grade_folder(lab, workspace.folder, path.seed(lab), fresh_seed=fresh_seed, on_check=on_check)
        progress.record(grade)
        progress.keep_folder(lab.id, workspace.folder)
        failed = grade.first_failed
        if failed is not None:
            progress.show_hint(lab.id, failed.id, 1)
        next_lab = path.catalog.next_lab(progress.best_gradings())
        hint = None if failed is None else lab.check(failed.id).hints[0].text
        return Checked(grade, workspace.folder, hint, next_lab, progress.set_aside)


def check_all(path: LearningPath) -> Iterator[Checked | DeepseekError]:
    """Grade every folder that was begun: what a progress file that is lost had, as far as the folders are there."""
    with Progress.open(path.place) as progress:
        folders = progress.folders()
    for name in [lab.id for lab in path.catalog.labs if lab.id in folders]:
        try:
            yield check(path, name)
        except DeepseekError as error:
            yield error


def next_hint(path: LearningPath, target: str | None = None, check_name: str | None = None) -> Hint:
    """The next step of help with a check: of the one that is named, or of the first that failed in the last grading."""
    with Progress.open(path.place) as progress:
        lab = path.catalog.lab(_find_target(path, progress, target).lab)
        name = check_name or _failed_check(lab, progress)
        known = [each.id for each in lab.table.checks]
        if name not in known:
            raise MissingError(
                f"the lab {lab.id} has no check {name!r}", expected=", ".join(known), fix="choose one of these"
            )
        hints = lab.check(name).hints
        number = min(progress.num_hints(lab.id, name) + 1, len(hints))
        progress.show_hint(lab.id, name, number)
        return Hint(lab.id, name, lab.check(name).title.text, hints[number - 1].text, number, len(hints))


def _find_target(path: LearningPath, progress: Progress, target: str | None) -> Workspace:
    if target is None:
        return find_workspace(Path())
    if Path(target).is_dir() and (Path(target).resolve() / ".lab.json").is_file():
        return find_workspace(Path(target))
    lab = path.catalog.lab(target)
    folder = progress.folder(lab.id)
    if folder is None:
        raise MissingError(
            f"the lab {lab.id} was not begun yet", expected="a folder of that lab",
            fix=f"deepseek learn start {lab.id}",
        )  # fmt: skip
    if not folder.is_dir():
        raise MissingError(
            f"the folder of {lab.id} was {folder}, and is no longer there", expected="the folder where it is now",
            fix="name where it lies now: deepseek learn check FOLDER",
        )  # fmt: skip
    return find_workspace(folder)


def _failed_check(lab: Lab, progress: Progress) -> str:
    last = progress.last(lab.id)
    for each in last.checks if last else ():
        if not each["passed"]:
            return str(each["id"])
    return lab.table.checks[0].id
