"""bundle.json: what a bundle is, what goes in and comes out, where it came from, and the sha256 of every file.

    manifest = Manifest(name="loans", version="1", created=now(), task="binary", target="default", ...)
    data = manifest.to_bytes()             # canonical JSON: sorted keys, two spaces, one newline at the end
    Manifest.from_bytes(data)              # checks every field; IntegrityError when a byte was changed

The file carries `manifest_sha256`, the sha256 of its own canonical form without that field. `digest` names the model:
it covers what changes an answer, and not when, how fast or with what evidence the bundle was made.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, get_args

from deepseek.bundle.fields import parse_value, reject_constant
from deepseek.bundle.folder import COPY_AGAIN_FIX
from deepseek.bundle.paths import MANIFEST, paths_problem
from deepseek.errors import InputError, IntegrityError, TooLargeError

if TYPE_CHECKING:
    from deepseek.contracts import JsonObject

#: The format of bundles that this release writes; `deepseek migrate` brings older ones to it.
FORMAT = 2
MAX_MANIFEST_BYTES = 2**20
SEAL_FIELD = "manifest_sha256"
THRESHOLD_RANGE = "a chance from 0 to 1, or null"

#: The same words as contracts.Task, whose module would bring numpy.
TableTask = Literal["binary", "multiclass", "regression"]
#: Of a model that reads no table: a graph of tensors, a text model, a detector of defects on pictures, an assistant
#: that reads questions, a checklist for documents. Its files lie as another tool would write them.
PlainTask = Literal[
    "tensors", "embedding", "sequence-classification", "token-classification", "detection", "intents", "review"
]
Task = Literal[TableTask, PlainTask]
PLAIN_TASKS: tuple[PlainTask, ...] = get_args(PlainTask)

_HASH = re.compile(r"[0-9a-f]{64}")
_DIGEST_FILES = (
    "features.toml", "windows.json", "warning.json", "preprocess.json", "samples.json", "model.json", "model.onnx",
    "decision.json",
)  # fmt: skip
_DESCRIPTION_FILES = ("card.json", "example.json", "README.md")  # of a model that reads no table
_DIGEST_FIELDS = ("inputs", "outputs", "labels", "threshold", "task", "target")


@dataclass(frozen=True, slots=True)
class Input:
    """One raw column."""

    name: str
    modality: str  # "numeric", "category", "text", ...
    dtype: str  # "float64", "str", ...
    shape: tuple[int, ...] = ()  # of one value; -1 is any size
    required: bool = True


@dataclass(frozen=True, slots=True)
class Output:
    """One array of an answer."""

    name: str
    dtype: str
    shape: tuple[int, ...] = ()  # of one row


@dataclass(frozen=True, slots=True)
class EngineEntry:
    """One way to run the model that passed its parity check."""

    kind: str  # a name in the plugin group "engines"
    file: str  # what it reads, one of the bundle's files
    parity: float  # largest difference of an output to the model's numpy twin
    num_rows: int = 0  # real rows that `parity` was measured on
    from_rows: int = 1  # it is used for calls of at least so many rows, up to the next entry's


@dataclass(frozen=True, slots=True)
class Lineage:
    """What a bundle was made from."""

    parent: str | None = None  # digest of the bundle that this one was made from
    data: str | None = None  # sha256 of the content of the training table
    config: dict[str, Any] = field(default_factory=dict)  # every setting, by name; JSON of any shape
    seed: int = 0
    versions: dict[str, str] = field(default_factory=dict)  # packages that made it


@dataclass(frozen=True, slots=True)
class Manifest:
    """The whole of bundle.json. write_bundle fills `format`, `files` and `digest`."""

    name: str
    version: str
    created: str  # ISO 8601
    task: Task
    target: str
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    labels: tuple[str, ...] = ()  # the classes in order; none for regression
    threshold: float | None = None  # the positive class is answered from this probability on; binary only
    engines: tuple[EngineEntry, ...] = ()
    lineage: Lineage = field(default_factory=Lineage)
    files: dict[str, str] = field(default_factory=dict)  # path to sha256, without bundle.json and bundle.sig
    digest: str = ""
    format: int = FORMAT

    def to_bytes(self) -> bytes:
        """Canonical bundle.json. InputError for a field that does not fit, TooLargeError over 1 MiB."""
        top = dataclasses.asdict(Manifest.from_dict(dataclasses.asdict(self)))
        data = canonical_json({**top, SEAL_FIELD: _sha256(canonical_json(top))})
        if len(data) > MAX_MANIFEST_BYTES:
            raise TooLargeError(
                f"{MANIFEST} would have {len(data)} bytes",
                expected=f"at most {MAX_MANIFEST_BYTES}",
                fix="use fewer columns, or shorter names and labels",
            )
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """The manifest of the current format. IntegrityError when it was cut or changed, InputError when it is of
        another format or a field does not fit."""
        top = decode_object(data)
        check_format(top)
        seal = top.pop(SEAL_FIELD, None)
        try:
            intact = seal == _sha256(canonical_json(top)) and data == canonical_json({**top, SEAL_FIELD: seal})
        except ValueError:  # a number or a letter that JSON's writer would never have made
            intact = False
        if not intact:
            raise IntegrityError(
                f"{MANIFEST} was changed: it does not match its {SEAL_FIELD}",
                expected="the bytes that its maker wrote",
                fix=COPY_AGAIN_FIX,
            )
        return cls.from_dict(top)

    @classmethod
    def from_dict(cls, top: JsonObject) -> Manifest:
        """Check every field. InputError names the one that does not fit."""
        manifest: Manifest = parse_value(cls, dict(top), MANIFEST)
        _check_manifest(manifest)
        return manifest

    def to_dict(self) -> JsonObject:
        """The object that bundle.json holds, in JSON's own types and without the seal."""
        plain: JsonObject = json.loads(json.dumps(dataclasses.asdict(self)))
        return plain

    def model_digest(self) -> str:
        """What `digest` has to be: sha256 over the files and fields that change an answer."""
        files = {name: sha256 for name, sha256 in self.files.items() if self._decides(name)}
        fields = dataclasses.asdict(self)
        return _sha256(canonical_json({"files": files, **{name: fields[name] for name in _DIGEST_FIELDS}}))

    def _decides(self, name: str) -> bool:
        """Whether a file can change an answer."""
        if self.task in PLAIN_TASKS:
            return not name.startswith("evidence/") and name not in _DESCRIPTION_FILES
        return name in _DIGEST_FILES or name.startswith("weights/")


def now() -> str:
    """The time for `created`, in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def canonical_json(value: JsonObject) -> bytes:
    """The one way in which an object is written: equal objects, equal bytes.

    >>> canonical_json({"b": 1, "a": "风险"}).decode()
    '{\\n  "a": "风险",\\n  "b": 1\\n}\\n'
    """
    return (json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def decode_object(data: bytes, name: str = MANIFEST) -> JsonObject:
    """The JSON object in `data`, or IntegrityError that names the file."""
    if len(data) > MAX_MANIFEST_BYTES:
        raise TooLargeError(f"{name} has too many bytes", expected=f"at most {MAX_MANIFEST_BYTES}", fix=COPY_AGAIN_FIX)
    try:
        top = json.loads(data.decode("utf-8"), parse_constant=reject_constant)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(
            f"{name} was cut or changed: {error}", expected="a JSON object", fix=COPY_AGAIN_FIX
        ) from error
    if not isinstance(top, dict):
        raise IntegrityError(
            f"{name} was changed: it is not a JSON object", expected="a JSON object", fix=COPY_AGAIN_FIX
        )
    return top


def check_format(top: JsonObject) -> None:
    """InputError unless the manifest is of the format that this version reads."""
    format_number = top.get("format")
    if not isinstance(format_number, int) or isinstance(format_number, bool) or format_number < 1:
        raise IntegrityError(f"{MANIFEST} has no format number", expected=f'"format": {FORMAT}', fix=COPY_AGAIN_FIX)
    if format_number > FORMAT:
        raise InputError(
            f"{MANIFEST} is of format {format_number}, which a newer deepseek wrote",
            expected=f"format {FORMAT} or older",
            fix="bring the clone of this project up to date: git pull, then pip install -e '.[all]'",
        )
    if format_number < FORMAT:
        raise InputError(
            f"{MANIFEST} is of the older format {format_number}",
            expected=f"format {FORMAT}",
            fix="bring it up to date with: deepseek migrate BUNDLE",
        )


def check_file_table(files: Mapping[str, str]) -> None:
    """IntegrityError for a name that may not be in a bundle, or a hash that is none."""
    problem = paths_problem(files)
    if problem:
        raise IntegrityError(
            f"{MANIFEST} lists a file that a bundle may not hold: {problem}",
            expected="relative names of plain files",
            fix="do not use this bundle",
        )
    for name, sha256 in files.items():
        _require(is_sha256(sha256), f"files.{name}", sha256, "64 hexadecimal digits")


def check_name(text: str, field_name: str = "name") -> None:
    """InputError unless `text` can stand in a URL's path and as the name of a folder: a model's name, its version."""
    good = 0 < len(text) <= 128 and text.isprintable() and text == text.strip() and not set(text) & set('/\\:?#%"')
    expected = '1 to 128 letters, none of / \\ : ? # % ", no dot at the start'
    _require(
        good and text[0] != ".",
        field_name,
        text,
        expected,
        fix="choose another name (name; in the shell --name NAME)" if field_name == "name" else "choose another one",
    )


def is_threshold(value: float | None) -> bool:
    """Whether a probability can be compared with `value`. One that no probability reaches is a little above 1
    (train/tabular/decide.py).

    >>> is_threshold(None), is_threshold(0.0), is_threshold(1.0000001), is_threshold(9.0)
    (True, True, True, False)
    """
    return value is None or 0 <= value <= 1 + 1e-6


def is_sha256(text: object) -> bool:
    return isinstance(text, str) and _HASH.fullmatch(text) is not None


def _check_manifest(manifest: Manifest) -> None:
    """InputError for what the types alone do not exclude: names, hashes, labels, counts."""
    check_file_table(manifest.files)
    check_name(manifest.name, "name")
    check_name(manifest.version, "version")
    _require(_is_time(manifest.created), "created", manifest.created, "a time such as 2026-01-31T12:00:00+00:00")
    _require(bool(manifest.target), "target", manifest.target, "the name of a column")
    _require(manifest.digest == "" or is_sha256(manifest.digest), "digest", manifest.digest, "64 hexadecimal digits")
    for name in ("parent", "data"):
        text = getattr(manifest.lineage, name)
        _require(text is None or is_sha256(text), f"lineage.{name}", text, "64 hexadecimal digits, or nothing")
    _check_labels(manifest)
    for section, rows in (("inputs", manifest.inputs), ("outputs", manifest.outputs)):
        names = [row.name for row in rows]
        _require(len(set(names)) == len(names), section, names, "each name once")
        for row in rows:
            _require(
                all(size >= -1 for size in row.shape), f"{section}.{row.name}.shape", row.shape, "sizes, or -1 for any"
            )
    for entry in manifest.engines:
        counts = (entry.num_rows, entry.from_rows)
        _require(min(counts) >= 0, f"engines.{entry.kind}", counts, "num_rows and from_rows of at least 0")
        _require(entry.parity >= 0, f"engines.{entry.kind}.parity", entry.parity, "a difference of at least 0")
        known = not manifest.files or entry.file in manifest.files
        _require(known, f"engines.{entry.kind}.file", entry.file, "one of the files of the bundle")


def _check_labels(manifest: Manifest) -> None:
    num_labels = len(manifest.labels)
    _require(len(set(manifest.labels)) == num_labels, "labels", manifest.labels, "each label once")
    known = {"binary": num_labels == 2, "multiclass": num_labels >= 2, "regression": num_labels == 0}
    good = known.get(manifest.task, True)
    _require(good, "labels", manifest.labels, f"the classes of a {manifest.task} task (two; two or more; none)")
    _require(
        manifest.threshold is None or manifest.task == "binary", "threshold", manifest.threshold, "none but for binary"
    )
    _require(is_threshold(manifest.threshold), "threshold", manifest.threshold, THRESHOLD_RANGE)


def _require(good: bool, where: str, value: object, expected: str, fix: str = "give it such a value") -> None:
    if not good:
        raise InputError(f"{MANIFEST}: {where} is {repr(value)[:100]}", expected=expected, fix=fix)


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
