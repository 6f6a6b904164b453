"""A lab: a folder with a task, starting files and checks.

    lab.toml                    all that is said of it, in English and Chinese (the fields of LabTable)
    task.en.md, task.zh.md      what to do
    start/                      files that a learner begins with
    checks.py                   make(data) writes the learner's data, check_ID(work) grades (see grading/kit.py)

`read_lab` holds the folder to this; nothing of checks.py is run.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

from deepseek.config import build_dataclass, read_toml
from deepseek.errors import DeepseekError, InputError
from deepseek.files import read_bounded
from deepseek.look.words import Text

Language = Literal["en", "zh"]
Level = Literal["junior", "senior", "expert"]
Layer = Literal["foundation", "advanced", "expert"]
Module = Literal["data", "train", "automl", "compress", "serve", "explain", "observe", "privacy"]
LEVELS: tuple[Level, ...] = get_args(Level)
LAYERS: tuple[Layer, ...] = get_args(Layer)
MODULES: tuple[Module, ...] = get_args(Module)

DEFINITION, CHECKS, START = "lab.toml", "checks.py", "start"
TASKS: Mapping[Language, str] = {"en": "task.en.md", "zh": "task.zh.md"}
MAX_TEXT_BYTES = 2**20
MIN_CHECKS, MAX_CHECKS = 5, 10
TOTAL_WEIGHT = 100
FIRST_PATH = "2026-11-29"
IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{2,39}")
PLACEHOLDER = re.compile(r"{(\w+)}")


@dataclass(frozen=True, slots=True)
class Translated:
    """The same words in both languages, as lab.toml has them."""

    en: str
    zh: str

    @property
    def text(self) -> Text:
        return Text(self.en, self.zh)

    def fill(self, values: Mapping[str, object]) -> Text:
        """The words with values in the place of {names}; what a value holds is not read as a place."""
        return Text(_fill(self.en, values, 0), _fill(self.zh, values, 1))

    def places(self) -> set[str]:
        """The names in braces of both languages."""
        return {*PLACEHOLDER.findall(self.en), *PLACEHOLDER.findall(self.zh)}


def _fill(words: str, values: Mapping[str, object], language: int) -> str:
    def value_of(match: re.Match[str]) -> str:
        value = values[match[1]]
        return str(value[language] if isinstance(value, tuple | list) else value)

    return PLACEHOLDER.sub(value_of, words)


@dataclass(frozen=True, slots=True)
class CheckTable:
    """One check as lab.toml describes it; the function check_ID of checks.py runs it."""

    id: str
    weight: int  # points; those of a lab sum to 100
    title: Translated  # what holds when it passes
    hints: tuple[Translated, ...]  # in steps, none of which is the solution
    essential: bool = False  # no lab is passed without it
    noisy: bool = False  # what it measures depends on chance: it is run again on other inputs before it fails


@dataclass(frozen=True, slots=True)
class CriterionTable:
    """One question of a rubric, which a person answers with 0 to 4 points and a reason."""

    id: str
    title: Translated


@dataclass(frozen=True, slots=True)
class LabTable:
    """lab.toml."""

    title: Translated
    summary: Translated
    level: Level
    module: Module
    skills: tuple[str, ...]  # cells of the matrix that it proves, as "data.foundation"
    hours: float  # of a learner of this level
    hours_reason: Translated  # what takes them
    seconds: float  # of a processor, most that a whole check may take
    submits: tuple[str, ...]  # what is graded: files, and folders with a slash at the end
    checks: tuple[CheckTable, ...]
    mistakes: dict[str, Translated] = field(default_factory=dict)  # by the code that checks.py raises
    installs: tuple[str, ...] = ()  # extras of this package
    requires: tuple[str, ...] = ()  # labs to pass before
    place: int = 1000  # in its level: lower ones come first
    memory_mb: int = 2048  # that the learner's code may take
    pass_score: int = 80
    since: str = FIRST_PATH  # date from which the path of its level has it
    rubric: tuple[CriterionTable, ...] = ()  # where there is one, a certificate needs it filled in and signed


@dataclass(frozen=True)
class Lab:
    """A folder that was read."""

    id: str
    folder: Path
    table: LabTable

    def task(self, language: Language) -> str:
        """The task as Markdown."""
        return _read_text(self.folder / TASKS[language])

    def check(self, name: str) -> CheckTable:
        return next(check for check in self.table.checks if check.id == name)

    @property
    def data_seed_name(self) -> str:
        return f"lab:{self.id}"

    @cached_property
    def digest(self) -> str:
        """sha256 over the names and bytes of all its files: who graded by other checks has another."""
        total = hashlib.sha256()
        for path in lab_files(self.folder):
            name = path.relative_to(self.folder).as_posix()
            total.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
        return total.hexdigest()


def lab_files(folder: Path) -> list[Path]:
    """The files of a lab in a fixed order, without what Python leaves behind."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [path for path in files if "__pycache__" not in path.parts and path.suffix != ".pyc"]


def read_lab(folder: Path, shared: Collection[str] = ()) -> Lab:
    """The lab in a folder; `shared`: codes of mistakes that all labs may raise. InputError says what is wrong."""
    try:
        table = build_dataclass(LabTable, read_toml(folder / DEFINITION))
    except DeepseekError as error:
        raise InputError(
            f"the lab {folder.name}: {error.message}", expected=error.expected, fix=error.fix or f"mend {DEFINITION}"
        ) from error
    lab = Lab(folder.name, folder, table)
    for problem in lab_problems(lab, shared):
        raise InputError(
            f"the lab {folder.name}: {problem}", expected="a lab as docs/guides/labs.md describes it",
            fix=f"mend it in {folder}",
        )  # fmt: skip
    return lab


def lab_problems(lab: Lab, shared: Collection[str] = ()) -> Iterator[str]:
    """What is wrong with a lab, as far as it shows without a run."""
    table = lab.table
    if not IDENTIFIER.fullmatch(lab.id):
        yield f"the name {lab.id!r} is not lower case, digits and _"
    for name in (*TASKS.values(), CHECKS):
        if not (lab.folder / name).is_file():
            yield f"{name} is missing"
            return
    yield from _table_problems(table)
    yield from _check_problems(lab, frozenset(shared))


def _table_problems(table: LabTable) -> Iterator[str]:
    if not MIN_CHECKS <= len(table.checks) <= MAX_CHECKS:
        yield f"it has {len(table.checks)} checks; five to ten make a grade"
    if sum(check.weight for check in table.checks) != TOTAL_WEIGHT or min(c.weight for c in table.checks) < 1:
        yield "the weights of its checks do not sum to 100"
    if len({check.id for check in table.checks}) < len(table.checks):
        yield "two checks have one id"
    if any(not check.hints for check in table.checks):
        yield "a check has no hint"
    if not any(check.essential for check in table.checks):
        yield "no check is essential: one could be passed by the others"
    cells = {f"{module}.{layer}" for module in MODULES for layer in LAYERS}
    if not table.skills or set(table.skills) - cells:
        yield f"skills are {', '.join(table.skills) or 'missing'}, no cells of the matrix, such as data.foundation"
    if not 0 < table.hours <= 40 or not 0 < table.seconds <= 600:
        yield "hours are above 0 and at most 40, seconds at most 600"
    if not is_date(table.since):
        yield f"since is {table.since!r}, no date such as {FIRST_PATH}"
    if len({criterion.id for criterion in table.rubric}) < len(table.rubric):
        yield "two criteria of its rubric have one id"
    if not table.submits:
        yield "submits is empty: nothing would be graded"


def is_date(text: str) -> bool:
    """
    >>> is_date("2026-11-29"), is_date("29.11.2026"), is_date("2026-02-30")
    (True, False, False)
    """
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _check_problems(lab: Lab, shared: frozenset[str]) -> Iterator[str]:
    try:
        tree = ast.parse(_read_text(lab.folder / CHECKS))
    except SyntaxError as error:
        yield f"{CHECKS} is no Python: {error}"
        return
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    for name in ("make", *(f"check_{check.id}" for check in lab.table.checks)):
        if name not in functions:
            yield f"{CHECKS} has no function {name}"
    for name in functions - {f"check_{check.id}" for check in lab.table.checks}:
        if name.startswith("check_"):
            yield f"{CHECKS} has {name}, which {DEFINITION} does not list"
    yield from _one_language(tree)
    raised = dict(_mistakes_raised(tree))
    for code in sorted(raised.keys() - lab.table.mistakes.keys() - shared):
        yield f"{CHECKS} raises the mistake {code!r}, which {DEFINITION} has no words for"
    for code in sorted(lab.table.mistakes.keys() - raised.keys()):
        yield f"{DEFINITION} has words for the mistake {code!r}, which {CHECKS} never raises"
    for code, names in raised.items():
        if code in lab.table.mistakes and (lacking := lab.table.mistakes[code].places() - names):
            yield f"the words of the mistake {code!r} name {', '.join(sorted(lacking))}, which {CHECKS} does not give"


def _one_language(tree: ast.Module) -> Iterator[str]:
    """Sentences that a mistake gets in one language."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Mistake":
            for keyword in node.keywords:
                value = keyword.value
                if isinstance(value, ast.Constant) and isinstance(value.value, str) and " " in value.value:
                    yield f"{CHECKS} says {value.value!r} in one language: make it Text(english, chinese)"


def _mistakes_raised(tree: ast.Module) -> Iterator[tuple[str, set[str]]]:
    """The codes that Mistake(...) is made with, and the names of its values."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id != "Mistake":
            continue
        if node.args and isinstance(node.args[0], ast.Constant):
            yield str(node.args[0].value), {keyword.arg or "" for keyword in node.keywords}


def _read_text(path: Path) -> str:
    data = read_bounded(path, MAX_TEXT_BYTES, what="a file of a lab", smaller="split the lab")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8", expected="UTF-8", fix="save it so") from error
