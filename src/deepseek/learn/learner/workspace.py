"""The folder in which a learner works on a lab: the task, data of their own, starting files, and a note of what it is.

    workspace = begin_lab(lab, Path("first_bundle"), learner, seed)
    find_workspace(Path())                  # of the folder that the learner stands in

The note (.lab.json) names the lab and whose data it is, so that the folder may be moved and renamed.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from deepseek.errors import InputError, IntegrityError, MissingError
from deepseek.files import atomic_file
from deepseek.learn.definition.lab import START, TASKS, Lab
from deepseek.learn.grading.grade import make_data
from deepseek.learn.learner.place import Learner

NOTE = ".lab.json"


@dataclass(frozen=True, slots=True)
class Workspace:
    """A folder of a lab that was begun."""

    folder: Path
    lab: str
    owner: str  # fingerprint of the learner
    data: tuple[str, ...]  # names of the files that were made


def begin_lab(lab: Lab, folder: Path, learner: Learner, seed: int, *, restore: bool = False) -> Workspace:
    """Make the folder. InputError where something is there, unless `restore`: then data and task are put back, and what
    the learner has written stays."""
    if folder.exists() and not restore:
        raise InputError(
            f"{folder} exists", expected="a new folder",
            fix="choose another --out, or put data and task back with --restore",
        )  # fmt: skip
    if restore and folder.exists():
        check_owner(find_workspace(folder), lab, learner)
    is_new = not folder.exists()
    try:
        return _fill_folder(lab, folder, learner, seed)
    except BaseException:  # an interrupt, too, leaves nothing half begun
        if is_new:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _fill_folder(lab: Lab, folder: Path, learner: Learner, seed: int) -> Workspace:
    folder.mkdir(parents=True, exist_ok=True)
    for name in TASKS.values():
        shutil.copyfile(lab.folder / name, folder / name)
    for path in sorted((lab.folder / START).rglob("*")):
        target = folder / path.relative_to(lab.folder / START)
        if path.is_file() and "__pycache__" not in path.parts and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    data = make_data(lab, folder, seed)
    note = {"lab": lab.id, "owner": learner.fingerprint, "data": list(data)}
    with atomic_file(folder / NOTE) as part:
        part.write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")
    return Workspace(folder, lab.id, learner.fingerprint, data)


def find_workspace(folder: Path) -> Workspace:
    """The workspace in a folder or in one above it. MissingError where there is none, IntegrityError for a note that
    was changed."""
    for place in (folder.absolute(), *folder.absolute().parents):
        if (place / NOTE).is_file():
            return _read_note(place)
    raise MissingError(
        f"{folder} is no folder of a lab", expected=f"a folder with {NOTE}, as deepseek learn start makes it",
        fix="name the lab, or the folder: deepseek learn check FOLDER",
    )  # fmt: skip


def check_owner(workspace: Workspace, lab: Lab, learner: Learner) -> None:
    """InputError where the folder is of another lab, or of another learner, whose data and answers are others."""
    if workspace.lab != lab.id:
        raise InputError(
            f"{workspace.folder} is a folder of the lab {workspace.lab}", expected=f"a folder of {lab.id}",
            fix="name the other lab, or another folder",
        )  # fmt: skip
    if workspace.owner != learner.fingerprint:
        raise InputError(
            f"{workspace.folder} was begun by another learner, whose data and answers are others",
            expected="a folder that you have begun", fix=f"deepseek learn start {lab.id} --out NEW",
        )  # fmt: skip


def _read_note(folder: Path) -> Workspace:
    try:
        note = json.loads((folder / NOTE).read_bytes())
        return Workspace(folder, str(note["lab"]), str(note["owner"]), tuple(map(str, note["data"])))
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(
            f"{folder / NOTE} was cut or changed", expected="the note that deepseek learn start writes",
            fix="begin the lab again in a new folder and copy your own files over",
        ) from error  # fmt: skip
