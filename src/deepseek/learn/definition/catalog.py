"""Which labs there are: those of this package, and those of the folders that DEEPSEEK_LABS names.

    catalog = read_catalog()
    catalog.lab("first_bundle").table.title.en

A folder of an organization holds folders of labs; they count to the level that each names. What lies there is code, and
runs with the rights of whoever checks a lab: a folder is named by its user and never looked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deepseek.config import build_dataclass, read_toml
from deepseek.errors import InputError, MissingError
from deepseek.learn.definition.lab import DEFINITION, LEVELS, Lab, Level, Translated, read_lab
from deepseek.learn.definition.mistakes import COMMON_MISTAKES
from deepseek.plugins import did_you_mean

LABS_VARIABLE = "DEEPSEEK_LABS"
BUILT_IN = Path(__file__).resolve().parents[1] / "labs"
LEVELS_FILE = "levels.toml"


@dataclass(frozen=True, slots=True)
class LevelTable:
    """What a certificate of a level stands for."""

    title: Translated
    can: Translated  # what its holder can do
    hours: float
    num_labs: int  # that the level has when it is whole


@dataclass(frozen=True, slots=True)
class _LevelsFile:
    levels: dict[str, LevelTable]


@dataclass(frozen=True, slots=True)
class Catalog:
    """All labs, in the order in which they are met."""

    labs: tuple[Lab, ...]
    levels: Mapping[Level, LevelTable]
    built_in: frozenset[str] = frozenset()

    def lab(self, name: str) -> Lab:
        """The lab of that id; MissingError names the nearest."""
        key = name.replace("-", "_")
        for lab in self.labs:
            if lab.id == key:
                return lab
        known = [lab.id for lab in self.labs]
        raise MissingError(
            f"there is no lab {name!r}.{did_you_mean(key, known)}", expected=", ".join(known),
            fix=f"choose one of these, or name the folder that holds it in {LABS_VARIABLE}",
        )  # fmt: skip

    def of_level(self, level: Level) -> tuple[Lab, ...]:
        return tuple(lab for lab in self.labs if lab.table.level == level)

    def path_dates(self, level: Level) -> tuple[str, ...]:
        """The dates on which the path of a level has grown, the first one first: its versions. Labs of organizations
        make none, for others would not know it."""
        labs = self.of_level(level)
        own = [lab for lab in labs if lab.id in self.built_in]
        return tuple(sorted({lab.table.since for lab in own or labs}))

    def path_on(self, level: Level, day: str) -> tuple[Lab, ...]:
        """The labs that the path of a level had on a date (ISO 8601)."""
        return tuple(lab for lab in self.of_level(level) if lab.table.since <= day)

    def next_lab(self, passed: Iterable[str]) -> Lab | None:
        """The first lab that is not passed and whose prerequisites are; None when all are passed."""
        known = set(passed)
        waiting = [lab for lab in self.labs if lab.id not in known]
        return next((lab for lab in waiting if known.issuperset(lab.table.requires)), waiting[0] if waiting else None)


def read_catalog(folders: Iterable[Path] | None = None) -> Catalog:
    """The labs of this package and of `folders` (of DEEPSEEK_LABS when None). InputError names a lab that is wrong."""
    if folders is None:
        names = os.environ.get(LABS_VARIABLE, "").split(os.pathsep)
        folders = [Path(name) for name in names if name]
    built_in = _read_folder(BUILT_IN)
    labs, levels = list(built_in), _read_levels(BUILT_IN / LEVELS_FILE)
    for folder in folders:
        if not folder.is_dir():
            raise MissingError(
                f"there is no folder of labs {folder}", expected=f"folders in {LABS_VARIABLE}", fix="mend its path"
            )
        labs += _read_folder(folder)
    return Catalog(_in_order(labs), levels, frozenset(lab.id for lab in built_in))


def _read_folder(folder: Path) -> list[Lab]:
    return [read_lab(path.parent, COMMON_MISTAKES) for path in sorted(folder.glob(f"*/{DEFINITION}"))]


def _read_levels(path: Path) -> dict[Level, LevelTable]:
    tables = build_dataclass(_LevelsFile, read_toml(path)).levels
    if unknown := tables.keys() - set(LEVELS):
        raise InputError(f"{path} has the level {min(unknown)!r}", expected=", ".join(LEVELS), fix="take one of these")
    return {level: tables[level] for level in LEVELS if level in tables}


def _in_order(labs: list[Lab]) -> tuple[Lab, ...]:
    """By level, and within a level each after what it requires; InputError for a circle, a stranger or a name twice."""
    by_id = {lab.id: lab for lab in labs}
    if len(by_id) < len(labs):
        twice = next(lab.id for lab in labs if sum(other.id == lab.id for other in labs) > 1)
        raise InputError(f"two labs are called {twice}", expected="names of their own", fix="rename one folder")
    waiting = sorted(labs, key=lambda lab: (LEVELS.index(lab.table.level), lab.table.place, lab.id))
    placed: dict[str, Lab] = {}
    while waiting:
        lab = next((lab for lab in waiting if placed.keys() >= set(lab.table.requires)), None)
        if lab is None:
            stuck = waiting[0]
            lacking = sorted(set(stuck.table.requires) - placed.keys())
            raise InputError(
                f"the lab {stuck.id} requires {', '.join(lacking)}, which no order of the labs can bring before it",
                expected="labs that are there, without a circle", fix=f"mend requires in its {DEFINITION}",
            )  # fmt: skip
        placed[lab.id] = lab
        waiting.remove(lab)
    return tuple(placed.values())
