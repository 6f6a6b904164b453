"""Which file of a torch module this process may run: one that its user has named, of the bytes that the study says.

    request = StudyRequest(..., module=read_source("net.py:build"))     # the maker of a study
    provide_module(study, "net.py:build")                               # everybody else, before anything else

A study brings no code, and what it names is not looked for: each house has the file by itself, has read it, and names
it where it takes part. A file of other bytes is refused before it is run.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from deepseek.errors import InputError, IntegrityError, MissingError
from deepseek.files import read_bounded
from deepseek.privacy.study.definition import ModuleSource, Study

MAX_SOURCE_BYTES = 1 << 20
_FILES: dict[ModuleSource, Path] = {}  # that were named to this process, by what a study says of them


def read_source(name: str) -> ModuleSource:
    """What a study says of FILE.py:NAME, a path from here. InputError for another form, MissingError for no file."""
    path, attribute = _parse(name)
    data = read_bounded(path, MAX_SOURCE_BYTES, what="the file of a module", smaller="take data out of it")
    return ModuleSource(f"{path.name}:{attribute}", hashlib.sha256(data).hexdigest())


def provide_module(study: Study, name: str | None) -> None:
    """Let this process run the file FILE.py:NAME for a study. InputError where the study needs one and none is named,
    or the other way round, IntegrityError for a file of other bytes than the study says."""
    if study.module is None:
        if name is not None:
            raise InputError(
                f"the study {study.name!r} learns no torch module",
                expected=f"no --module: its model is {study.settings.model.kind}",
                fix="leave --module out",
            )
        return
    if name is None:
        raise InputError(
            f"the study {study.name!r} learns the torch module {study.module.name}, whose code is not in the study",
            expected="the path of your own copy, which you have read",
            fix=f"name it: --module {study.module.name}",
        )
    source = read_source(name)
    if source != study.module:
        raise IntegrityError(
            f"{name} is not the code that was signed: {source.name} of {source.sha256[:16]}...",
            expected=f"{study.module.name} of {study.module.sha256[:16]}...",
            fix="get the file that all parties have agreed on, and read it",
        )
    _FILES[source] = _parse(name)[0]


def provided_file(study: Study) -> Path:
    """The file of the study's module. InputError where this process was not given it."""
    path = None if study.module is None else _FILES.get(study.module)
    if path is None:
        raise InputError(
            f"the study {study.name!r} learns a torch module, and this process has no file of it",
            expected="provide_module(study, 'FILE.py:NAME') before", fix="name the file with --module",
        )  # fmt: skip
    return path


def _parse(name: str) -> tuple[Path, str]:
    file, colon, attribute = name.rpartition(":")
    if not colon or not file.endswith(".py") or not attribute.isidentifier():
        raise InputError(
            f"the module is {name!r}", expected="FILE.py:NAME of a function or class", fix='such as "net.py:build"'
        )
    path = Path(file).resolve()
    if not path.is_file():
        raise MissingError(f"there is no file {path}", expected="a Python file", fix="check the name and the folder")
    return path, attribute
