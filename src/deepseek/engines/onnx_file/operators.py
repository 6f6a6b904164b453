"""Operators of one's own in a bundle: a library for onnxruntime, which is machine code, so signed and opt-in.

    library = open_operators(Path("splines"), Path("release-key.pub"))     # None: the bundle holds none
    open_file(Path("splines/model.onnx"), cache, operators=library)

operators.json says which operators the graph takes from the library, and for which platform it was built. Nothing of it
is loaded unless the user names a public key that signed the bundle; every process holds the library to its digest
again before it loads it. Source: "Custom operators" in the documentation of onnxruntime (RegisterCustomOps).
"""

from __future__ import annotations

import hashlib
import platform
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from deepseek.bundle import open_bundle
from deepseek.bundle.fields import parse_json_object, parse_value
from deepseek.bundle.manifest import canonical_json
from deepseek.engines.onnx import runtime_errors
from deepseek.errors import InputError, IntegrityError
from deepseek.extras import need
from deepseek.files import atomic_file, cache_folder, read_bounded

if TYPE_CHECKING:
    from deepseek.bundle import Bundle
    from deepseek.contracts import JsonObject

OPERATORS_FILE = "operators.json"
FOLDER = "operators"  # of the library in a bundle
FORMAT: Final = 1
MAX_LIBRARY_BYTES = 256 << 20
_PRIVATE_FOLDER_MODE, _READ_ONLY_MODE = 0o700, 0o500
#: "themselves": the graph defines them nowhere, so nothing else says what is right.
HeldTo = Literal["their definitions in the graph", "themselves"]
_WHAT = "a library of operators for onnxruntime"
_BUILD = "build it for this machine, and give it to deepseek convert --operators"


@dataclass(frozen=True, slots=True)
class OperatorsFile:
    """operators.json."""

    file: str  # the library, one of the bundle's files
    platform: str  # that it was built for, as platform_name() says it
    operators: tuple[str, ...]  # DOMAIN.NAME of the operators that the graph takes from it
    held_to: HeldTo  # what the parity of the evidence speaks of
    runtime: Literal["onnxruntime"] = "onnxruntime"
    format: Literal[1] = FORMAT


@dataclass(frozen=True, slots=True)
class OperatorLibrary:
    """A library that may be loaded here."""

    path: Path
    sha256: str
    operators: frozenset[tuple[str, str]] | None  # domain and name; None: any

    def provides(self, operator: tuple[str, str]) -> bool:
        """Whether a graph may take the operator (domain, name) from it."""
        return self.operators is None or operator in self.operators

    @classmethod
    def read(cls, path: Path) -> Self:
        """The library at `path`, whose operators nobody has named. MissingError, TooLargeError."""
        return cls(path.absolute(), hashlib.sha256(_read_library(path)).hexdigest(), None)

    @classmethod
    def from_dict(cls, document: JsonObject | None) -> Self | None:
        """Read what to_dict() gave; None for None."""
        if document is None:
            return None
        names = document["operators"]
        operators = None if names is None else frozenset((str(domain), str(name)) for domain, name in names)
        return cls(Path(document["path"]), str(document["sha256"]), operators)

    def to_dict(self) -> JsonObject:
        """For another process."""
        names = None if self.operators is None else sorted(self.operators)
        return {"path": str(self.path), "sha256": self.sha256, "operators": names}

    def read_bytes(self) -> bytes:
        """The library. IntegrityError when it is another than it was."""
        data = _read_library(self.path)
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise IntegrityError(
                f"{self.path} is no longer the library that was opened", expected=self.sha256, fix="start again"
            )
        return data

    def register(self, session_options: Any) -> None:
        """Load the library into this process. IntegrityError when it is another than it was, or onnxruntime does not
        take it."""
        self.read_bytes()
        refusals: tuple[type[Exception], ...] = (RuntimeError, *runtime_errors(need("onnxruntime", extra="serve")))
        try:
            session_options.register_custom_ops_library(str(self.path))
        except refusals as error:
            raise IntegrityError(
                f"{self.path.name} cannot be loaded: {' '.join(str(error).split())[:300]}",
                expected=f"{_WHAT}, with RegisterCustomOps and for {platform_name()}", fix=_BUILD,
            ) from error  # fmt: skip


def platform_name() -> str:
    """The platform that machine code must be of, such as linux-x86_64."""
    return f"{sys.platform}-{platform.machine().lower()}"


def open_operators(path: Path, key: Path | None) -> OperatorLibrary | None:
    """The library that the bundle at `path` carries; None where it carries none.

    `key`: the public key of whom machine code is taken from. InputError without one, and for another platform;
    IntegrityError when another key has signed, or a file does not fit.
    """
    bundle = open_bundle(path)
    if not bundle.has(OPERATORS_FILE):
        return None
    entry = read_operators_file(bundle)
    if key is None:
        raise InputError(
            f"{path} brings machine code, for {', '.join(entry.operators)[:200]}, and that is not run unasked",
            expected="the public key of whom you take machine code from",
            fix="deepseek serve --allow-operators MAKER.pub, or take a bundle without operators",
        )
    bundle = open_bundle(path, key=key)
    if entry.platform != platform_name():
        raise InputError(
            f"{path} brings operators that were built for {entry.platform}",
            expected=f"a library for {platform_name()}", fix=_BUILD,
        )  # fmt: skip
    operators = frozenset(_split_name(name) for name in entry.operators)
    return OperatorLibrary(*_keep_library(bundle, entry.file), operators)


def read_operators_file(bundle: Bundle) -> OperatorsFile:
    """operators.json of a bundle that has one. IntegrityError, InputError for what does not fit."""
    entry: OperatorsFile = parse_value(
        OperatorsFile, parse_json_object(bundle.read(OPERATORS_FILE), OPERATORS_FILE), OPERATORS_FILE
    )
    if not bundle.has(entry.file) or not entry.file.startswith(f"{FOLDER}/"):
        raise IntegrityError(
            f"{OPERATORS_FILE} names {entry.file[:100]!r}", expected=f"one of the bundle's files in {FOLDER}/",
            fix="do not use this bundle",
        )  # fmt: skip
    if not entry.operators or any("." not in name for name in entry.operators):
        raise IntegrityError(
            f"{OPERATORS_FILE} names the operators {list(entry.operators)[:5]}", expected="DOMAIN.NAME of each",
            fix="do not use this bundle",
        )  # fmt: skip
    return entry


def operator_files(
    library: OperatorLibrary, operators: frozenset[tuple[str, str]], *, are_defined: bool
) -> dict[str, bytes]:
    """The files by which a bundle carries a library that its graph takes these operators (domain, name) from.
    `are_defined`: whether the graph defines all of them itself."""
    file = f"{FOLDER}/{platform_name()}/{library.path.name}"
    names = tuple(sorted(f"{domain}.{name}" for domain, name in operators))
    held_to: HeldTo = "their definitions in the graph" if are_defined else "themselves"
    entry = OperatorsFile(file, platform_name(), names, held_to)
    return {OPERATORS_FILE: canonical_json(asdict(entry)), file: library.read_bytes()}


def _split_name(text: str) -> tuple[str, str]:
    """A domain may hold dots itself.

    >>> _split_name("org.example.Gate")
    ('org.example', 'Gate')
    """
    domain, _, name = text.rpartition(".")
    return domain, name


def _keep_library(bundle: Bundle, name: str) -> tuple[Path, str]:
    """A copy of the library that only this user can change, and its sha256: the folder of a bundle may be replaced
    while processes start. IntegrityError when it is not what the manifest says."""
    sha256 = bundle.manifest.files[name]
    folder = cache_folder() / FOLDER
    folder.mkdir(parents=True, exist_ok=True, mode=_PRIVATE_FOLDER_MODE)
    path = folder / f"{sha256}{Path(name).suffix}"
    data = bundle.read(name)
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        with atomic_file(path) as part:
            part.write_bytes(data)
            part.chmod(_READ_ONLY_MODE)
    return path, sha256


def _read_library(path: Path) -> bytes:
    return read_bounded(path, MAX_LIBRARY_BYTES, what=_WHAT, smaller="strip it of what is for debuggers")
