"""What any folder of a lab is held to: this package's own in its tests, an organization's by `learn labs --test`."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from deepseek.errors import InputError
from deepseek.learn.definition.lab import START, TASKS, Lab, read_lab
from deepseek.learn.definition.mistakes import COMMON_MISTAKES
from deepseek.learn.definition.needs import check_installed, install_problems
from deepseek.learn.grading.grade import make_data

SEEDS = (1, 2)
CHINESE = re.compile("[\u4e00-\u9fff]")


def check_lab_folder(folder: Path) -> Lab:
    """The lab, held to all that can be held without solutions. InputError names what is wrong."""
    lab = read_lab(folder.resolve(), COMMON_MISTAKES)
    for problem in (*text_problems(lab), *install_problems(lab)):
        raise _contract_error(lab, problem)
    check_installed(lab)
    for problem in data_problems(lab):
        raise _contract_error(lab, problem)
    return lab


def _contract_error(lab: Lab, problem: str) -> InputError:
    return InputError(f"the lab {lab.id}: {problem}", expected="see docs/guides/labs.md", fix="mend it")


def text_problems(lab: Lab) -> list[str]:
    """Words that are missing in one language, and what a task does not say."""
    table, problems = lab.table, []
    texts = [table.title, table.summary, table.hours_reason, *table.mistakes.values()]
    texts += [criterion.title for criterion in table.rubric]
    for check in table.checks:
        texts += [check.title, *check.hints]
    for text in texts:
        if not text.en.strip() or not CHINESE.search(text.zh):
            problems.append(f"words are missing in one language: {text.en!r}, {text.zh!r}")
        if CHINESE.search(text.en):
            problems.append(f"English words are Chinese: {text.en!r}")
    for language in TASKS:
        task = lab.task(language)
        problems += [
            f"{TASKS[language]} does not name {name}, which is handed in" for name in table.submits if name not in task
        ]
        if not task.startswith("# "):
            problems.append(f"{TASKS[language]} does not begin with a title")
    return problems


def data_problems(lab: Lab) -> list[str]:
    """Whether data follows from the seed alone, and differs by learner; whether a start overwrites it."""
    contents = []
    with tempfile.TemporaryDirectory(prefix="deepseek-learn-") as name:
        for number, seed in enumerate((*SEEDS, SEEDS[0])):
            folder = Path(name) / str(number)
            folder.mkdir()
            files = make_data(lab, folder, seed)
            contents.append({file: (folder / file).read_bytes() for file in files})
    if not contents[0]:
        return ["make() writes no data"]
    problems = []
    if contents[0] != contents[2]:
        problems.append("make() writes other data for the same seed")
    if contents[0] == contents[1]:
        problems.append("make() writes the same data for every learner: answers could be copied")
    start = {path.relative_to(lab.folder / START).as_posix() for path in (lab.folder / START).rglob("*")}
    if both := start & contents[0].keys():
        problems.append(f"{min(both)} lies in {START}/ and is written by make()")
    return problems
