"""What a file to be converted is, by its first bytes rather than by its name.

    source = Source.detect(Path("model.keras"))      # refuses what is known not to work, by name
    source.kind                                      # "keras", "saved_model", "tflite", "pt2" or "onnx"

Nothing is loaded here, and none of the frameworks is needed.
"""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deepseek.errors import InputError, MissingError

SourceKind = Literal["keras", "saved_model", "tflite", "pt2", "onnx"]
SAVED_MODEL_FILE = "saved_model.pb"
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_TFLITE_MAGIC = b"TFL3"  # at byte 4 of a FlatBuffer
_EXPECTED = "a .keras file, a SavedModel folder, a .tflite, a .pt2 of torch.export, or an .onnx file"
_READ_BYTES = 1 << 20
#: What each kind is called in messages and in a bundle's evidence.
TITLES: dict[SourceKind, str] = {
    "keras": "Keras", "saved_model": "TensorFlow SavedModel", "tflite": "TensorFlow Lite", "pt2": "torch.export",
    "onnx": "ONNX",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Source:
    """A model's file or folder."""

    path: Path
    kind: SourceKind

    @property
    def title(self) -> str:
        return TITLES[self.kind]

    @classmethod
    def detect(cls, path: Path) -> Source:
        """Look at the first bytes. MissingError, or InputError for a format that is not converted."""
        if path.is_dir():
            return cls(path, _kind_of_folder(path))
        if not path.is_file():
            raise MissingError(f"there is no model at {path}", expected=_EXPECTED, fix="check the path")
        with path.open("rb") as file:
            head = file.read(8)
        if head == HDF5_MAGIC:
            raise InputError(
                f"{path} is a Keras 2 or HDF5 file (.h5)", expected="the .keras format of Keras 3",
                fix='open it where it was made and save it anew: model.save("model.keras")',
            )  # fmt: skip
        if head[4:] == _TFLITE_MAGIC:
            return cls(path, "tflite")
        if head[:4] == b"PK\x03\x04":
            return cls(path, _kind_of_archive(path))
        if path.suffix == ".onnx":
            return cls(path, "onnx")
        raise InputError(
            f"{path} is no model that is converted here", expected=_EXPECTED, fix="export it to one of them"
        )

    def digest(self) -> str:
        """Hex sha256 over the names and contents of the file, or of every file of the folder."""
        digest = hashlib.sha256()
        files = sorted(each for each in self.path.rglob("*") if each.is_file()) if self.path.is_dir() else [self.path]
        for file in files:
            if self.path.is_dir():
                digest.update(f"{file.relative_to(self.path)}\0{file.stat().st_size}\0".encode())
            with file.open("rb") as opened:
                while piece := opened.read(_READ_BYTES):
                    digest.update(piece)
        return digest.hexdigest()


def _kind_of_folder(path: Path) -> SourceKind:
    if (path / SAVED_MODEL_FILE).is_file():
        return "saved_model"
    if (path / "keras_metadata.pb").is_file() or (path / "saved_model.pbtxt").is_file():
        raise InputError(
            f"{path} has no {SAVED_MODEL_FILE}",
            expected="a whole SavedModel",
            fix="copy the folder whole, or save again",
        )
    raise InputError(f"{path} holds no model", expected=_EXPECTED, fix="check the path")


def _kind_of_archive(path: Path) -> SourceKind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise InputError(
            f"{path} was cut or changed: {error}", expected="a whole archive", fix="take an unharmed copy"
        ) from error
    if "config.json" in names:
        return "keras"
    if any(name.rpartition("/")[2] in ("archive_format", "serialized_exported_program.json") for name in names):
        return "pt2"
    raise InputError(
        f"{path} is an archive of something else ({', '.join(names[:3])[:100]})", expected=_EXPECTED,
        fix="a module that torch.save wrote is a pickle, which is never opened: export it with torch.export.save",
    )  # fmt: skip
