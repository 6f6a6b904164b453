"""A .keras file before Keras sees it: its sizes, its version, and that its config names Keras' own parts alone.

    config = check_keras_file(Path("model.keras"))      # the parsed config.json, or an InputError by name

Keras' own safe mode refuses a pickled lambda, but imports modules that a config names, and reads the files that a
look-up layer names as its vocabulary. Here nothing is imported: what is not a layer, an operation, an initializer or
the like of Keras itself is refused before.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepseek.contracts import JsonObject
from deepseek.errors import InputError, TooLargeError

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
MAX_MEMBERS = 1_000
MAX_JSON_BYTES = 64 << 20
MAX_BYTES = 8 << 30  # of all members together, unpacked
MAX_EXPANSION = 20  # unpacked bytes for each byte of the file, above SMALL_BYTES; Keras itself stores, packing nothing
SMALL_BYTES = 64 << 20
#: Classes of Keras that run code of a file or open other files, each with what it is.
UNSAFE_CLASSES = {
    "Lambda": "Python code", "__lambda__": "Python code", "TFSMLayer": "another SavedModel",
    "TorchModuleWrapper": "a pickled torch module", "JaxLayer": "Python code", "FlaxLayer": "Python code",
    "__typespec__": "a type of TensorFlow",
}  # fmt: skip
#: Configs that are values, not objects of a module.
VALUE_CLASSES = frozenset(["__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__"])
#: Modules whose objects a config may name: they compute, and reach for nothing else.
SAFE_MODULES = frozenset(
    [
        "keras", "keras.activations", "keras.constraints", "keras.dtype_policies", "keras.initializers", "keras.layers",
        "keras.losses", "keras.metrics", "keras.models", "keras.ops", "keras.optimizers",
        "keras.optimizers.schedules", "keras.quantizers", "keras.regularizers",
    ]
)  # fmt: skip
SAFE_PREFIXES = (
    "keras.src.activations.", "keras.src.applications.", "keras.src.layers.", "keras.src.models.", "keras.src.ops.",
)  # fmt: skip
_CUSTOM_FIX = "build the model of Keras' own layers, or export it to ONNX where its classes are: model.export(...)"


@dataclass(frozen=True, slots=True)
class KerasFile:
    """What the file says of itself."""

    config: JsonObject
    keras_version: str

    @property
    def takes_texts(self) -> bool:
        """Whether an input holds texts, which only TensorFlow has as tensors."""
        return any(entry.get("dtype") == "string" for entry in _objects(self.config))


def check_keras_file(path: Path) -> KerasFile:
    """InputError (TooLargeError) that names what is not converted: a bomb, Keras 2, code, custom objects, ragged or
    sparse inputs, weights that are missing."""
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(path, archive)
            metadata = _read_json(path, archive, METADATA)
            config = _read_json(path, archive, CONFIG)
            names = set(archive.namelist())
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(
            f"{path} was cut or changed: {error}", expected="a whole .keras file", fix="take an unharmed copy"
        ) from error
    version = str(metadata.get("keras_version", ""))
    if not version.startswith("3."):
        raise InputError(
            f"{path} was saved by Keras {version[:20] or 'of no version'}", expected="a file of Keras 3",
            fix='open it where it was made, with Keras 3, and save it anew: model.save("model.keras")',
        )  # fmt: skip
    if WEIGHTS not in names:
        raise InputError(
            f"{path} holds no weights: {WEIGHTS} is missing", expected="a whole .keras file",
            fix="save it anew, or take an unharmed copy",
        )  # fmt: skip
    _check_config(path, config)
    return KerasFile(config, version)


def _check_members(path: Path, archive: zipfile.ZipFile) -> None:
    members = archive.infolist()
    size, packed = sum(member.file_size for member in members), path.stat().st_size
    if len(members) > MAX_MEMBERS or size > MAX_BYTES or size > max(SMALL_BYTES, MAX_EXPANSION * packed):
        raise TooLargeError(
            f"{path} would unpack {len(members):,} files of {size:,} bytes out of {packed:,}",
            expected=f"at most {MAX_MEMBERS:,} files, and {MAX_EXPANSION} times its own size",
            fix="do not use this file",
        )  # fmt: skip
    for member in members:
        parts = member.filename.replace("\\", "/").split("/")
        if member.filename.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
            raise InputError(
                f"{path} would write outside of its folder: {member.filename[:100]!r}",
                expected="names inside of the archive", fix="do not use this file",
            )  # fmt: skip


def _read_json(path: Path, archive: zipfile.ZipFile, name: str) -> JsonObject:
    if name not in archive.namelist():
        raise InputError(f"{path} has no {name}", expected="a whole .keras file", fix="save it anew with model.save")
    if archive.getinfo(name).file_size > MAX_JSON_BYTES:
        raise TooLargeError(
            f"{name} of {path} is too large", expected=f"at most {MAX_JSON_BYTES:,} bytes", fix="do not use this file"
        )
    try:
        document = json.loads(archive.read(name))
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{name} of {path} is no JSON that can be read: {error}", expected="what Keras wrote",
            fix="save it anew with model.save",
        ) from error  # fmt: skip
    if not isinstance(document, dict):
        raise InputError(f"{name} of {path} is no object", expected="what Keras wrote", fix="save it anew")
    return document


def _check_config(path: Path, config: JsonObject) -> None:
    """How the model itself was compiled is left out, and not loaded either: losses and optimizers may be anybody's."""
    for entry in _objects({name: value for name, value in config.items() if name != "compile_config"}):
        _check_object(path, entry)


def _objects(config: Any) -> Iterator[JsonObject]:
    """Every JSON object within, without recursion: a hostile one may be nested as deep as it likes."""
    waiting = [config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _check_object(path: Path, entry: JsonObject) -> None:
    """InputError for an object of a config that Keras would not make by itself."""
    inner = entry.get("config")
    label = str(inner.get("name", "") if isinstance(inner, dict) else inner)[:60]
    class_name = entry.get("class_name")
    if class_name in UNSAFE_CLASSES:
        raise InputError(
            f"{path} holds {UNSAFE_CLASSES[class_name]} in its {class_name} {label!r}, which is never run",
            expected="layers of Keras that only compute", fix=_CUSTOM_FIX,
        )  # fmt: skip
    if entry.get("ragged") or entry.get("sparse"):
        kind = "ragged" if entry.get("ragged") else "sparse"
        raise InputError(
            f"{path} works on {kind} tensors in {str(entry.get('name'))[:60]!r}", expected="dense tensors",
            fix="pad the sequences, or let the layer give dense outputs",
        )  # fmt: skip
    if isinstance(entry.get("vocabulary"), str):
        raise InputError(
            f"{path} names a file as the vocabulary of {str(entry.get('name'))[:60]!r}",
            expected="a vocabulary within the .keras file", fix="adapt() the layer, or give it a list, and save again",
        )  # fmt: skip
    if class_name is None or "config" not in entry or class_name in VALUE_CLASSES:
        return
    _check_names(path, entry, class_name, label)


def _check_names(path: Path, entry: JsonObject, class_name: object, label: str) -> None:
    module, registered = entry.get("module"), entry.get("registered_name")
    is_safe = isinstance(module, str) and (module in SAFE_MODULES or module.startswith(SAFE_PREFIXES))
    is_own = registered in (None, class_name) or (class_name == "function" and registered == "function")
    is_named = isinstance(class_name, str) and class_name.isidentifier()
    may_be_called = class_name != "function" or module in ("keras.activations", "keras.ops")
    if is_safe and is_own and is_named and may_be_called:
        return
    name = registered if isinstance(registered, str) and registered != "function" else class_name
    raise InputError(
        f"{path} needs the custom object {str(name)[:80]!r} ({label!r} of {str(module)[:80]!r})",
        expected="objects of Keras itself: code of others is never imported", fix=_CUSTOM_FIX,
    )  # fmt: skip
