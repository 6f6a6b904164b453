"""A package for an operator of one's own: a copy of examples/custom_operator under a name of its own.

    new_operator("robust_gate", Path("robust_gate"), example=Path("examples/custom_operator"))

The copy installs, trains and serves at once, as the example does; its formula is then replaced by the user's, and the
tests of plugins say what is missing. Nothing of it is imported here, so neither torch nor a compiler is needed.
"""

from __future__ import annotations

import keyword
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import deepseek
from deepseek.bundle.place import replace_folder, temporary_folder
from deepseek.errors import InputError, MissingError

EXAMPLE = Path("examples") / "custom_operator"
_PACKAGE = "monotone_splines"
_TEXTS = frozenset([".py", ".cpp", ".h", ".md", ".toml"])
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_LEFT_OUT = ("__pycache__", "build", "dist")


@dataclass(frozen=True, slots=True)
class NewOperator:
    """The package that was written."""

    path: Path
    name: str
    files: tuple[str, ...]  # relative, sorted


def find_example(example: Path | None = None) -> Path:
    """The example to copy: `example`, or that of the clone that this package is installed from, or is run in.
    MissingError where there is none."""
    clone = Path(deepseek.__file__).parents[2]
    for place in [example] if example is not None else [clone / EXAMPLE, EXAMPLE]:
        if (place / _PACKAGE / "operator.py").is_file():
            return place
    raise MissingError(
        f"there is no example at {example or EXAMPLE}", expected=f"the folder {EXAMPLE} of a clone of this project",
        fix="run it in the clone, or name the folder with --from",
    )  # fmt: skip


def new_operator(name: str, out: Path, *, example: Path | None = None) -> NewOperator:
    """Write the package `name` to the folder `out`, whole or not at all. InputError for a name that is no module's, or
    a folder that is not empty; MissingError without the example."""
    if not _NAME.fullmatch(name) or keyword.iskeyword(name) or name == _PACKAGE:
        raise InputError(
            f"{name[:80]!r} cannot name a package of an operator",
            expected="a name in small letters such as robust_gate, other than the example's",
            fix="choose another name",
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is not empty", expected="a new folder", fix="choose another one with --out")
    source = find_example(example)
    files = sorted(path for path in source.rglob("*") if path.is_file() and _is_source(path.relative_to(source)))
    target = out.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(target) as temporary:
        written = [_copy(path, path.relative_to(source), temporary, name) for path in files]
        replace_folder(temporary, target)
    return NewOperator(out, name, tuple(sorted(written)))


def _is_source(path: Path) -> bool:
    return not any(part in _LEFT_OUT or part.endswith(".egg-info") or part.startswith(".") for part in path.parts)


def _copy(source: Path, relative: Path, folder: Path, name: str) -> str:
    """Copy one file under its new name, and with the new names in it. Returns its path in the folder."""
    place = rename(relative.as_posix(), name)
    target = folder / place
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix in _TEXTS:
        target.write_text(rename(source.read_text("utf-8"), name), "utf-8")
    else:
        shutil.copyfile(source, target)
    return place


def rename(text: str, name: str) -> str:
    """The text with the example's names replaced: of the package, its class, its operator and its function.

    >>> rename("from monotone_splines.part import MonotoneSplines, monotone_spline  # monotone-splines", "robust_gate")
    'from robust_gate.part import RobustGate, robust_gate_operator  # robust-gate'
    """
    words = name.split("_")
    camel = "".join(word.capitalize() for word in words)
    for old, new in (
        ("monotone_splines", name), ("monotone-splines", "-".join(words)), ("MonotoneSplines", camel),
        ("monotone_spline", f"{name}_operator"), ("MonotoneSpline", f"{camel}Operator"),
    ):  # fmt: skip
        text = text.replace(old, new)
    return text
