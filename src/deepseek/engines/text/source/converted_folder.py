"""A folder that `deepseek convert` has made: a graph in ONNX beside the files of the source, held together by digests.

    converted = ConvertedFolder.read(Path("deberta"))      # converted.json alone
    converted.check(Path("deberta"))                 # every byte of every file, and that the graph refers to no other

converted.json has the sizes that the graph does not tell, the digests of all other files, what it was made of and with,
and how far the answers were from those of transformers. Labels, pooling and prompts are read from the source's own
files, as for folders that were not converted.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from deepseek.bundle.paths import path_problem
from deepseek.engines.onnx_file.contents import examine_file
from deepseek.engines.text.source.architecture import CONFIG_FILE, Architecture, TextTask, read_labels
from deepseek.engines.text.source.folder import file_digest, has_file, read_field, read_object
from deepseek.engines.text.source.pooling import Pooling
from deepseek.engines.text.source.tokens import SETTINGS_FILE, TOKENIZER_FILE
from deepseek.errors import InputError, IntegrityError

NOTE_FILE = "converted.json"
GRAPH_FILE = "model.onnx"
FAMILY = "converted"  # of its Architecture: the graph alone knows how it computes
#: Raised when a folder would be read in another way. A folder of another format is not opened.
FORMAT_VERSION = 1
INPUTS = ("input_ids", "attention_mask")  # (N, L) int64 each
OUTPUT = "output"  # (N, L, H) the last hidden state, or logits (N, C), (N, L, C)
MAX_FILES = 100
CONVERT_AGAIN = "convert the model again: deepseek convert HF_FOLDER --out DIR"


@dataclass(frozen=True, slots=True)
class ConvertedFolder:
    """What converted.json says."""

    architecture: Architecture
    named: str  # the source's class, such as DebertaV2Model
    files: Mapping[str, str]  # name -> sha256 in hex

    @classmethod
    def read(cls, folder: Path) -> ConvertedFolder:
        """IntegrityError for a note that was changed or does not fit; InputError for one of another format."""
        given = read_object(folder, NOTE_FILE)
        where = f"{NOTE_FILE} in {folder}"
        if given.get("format") != FORMAT_VERSION:
            raise InputError(
                f"{where} is of the format {str(given.get('format'))[:20]}",
                expected=f"the format {FORMAT_VERSION}",
                fix=CONVERT_AGAIN,
            )
        if given.get("digest") != note_digest(given):
            raise _changed_error(folder, NOTE_FILE)
        task = read_field(given, "task", str, where)
        files = read_field(given, "files", dict, where)
        sound = all(path_problem(name) is None and _is_sha256(found) for name, found in files.items())
        whole = {GRAPH_FILE, CONFIG_FILE, TOKENIZER_FILE} <= set(files) and len(files) <= MAX_FILES
        if task not in get_args(TextTask) or not sound or not whole:
            raise IntegrityError(
                f"{where} does not describe a text model", expected="what convert writes", fix=CONVERT_AGAIN
            )
        size = {name: int(read_field(given, name, int, where, most=2**24)) for name in _SIZE_KEYS}
        config = read_object(folder, CONFIG_FILE)
        architecture = Architecture(
            family=FAMILY, task=task, hidden=size["hidden"], num_layers=0, num_heads=1, intermediate=0,
            vocab_size=size["vocab_size"], num_positions=size["max_tokens"], num_types=0, pad_id=size["pad_id"],
            activation="", norm_eps=0.0,
            labels=read_labels(config, f"{CONFIG_FILE} in {folder}") if task != "embedding" else (),
            multi_label=config.get("problem_type") == "multi_label_classification",
        )  # fmt: skip
        architecture.check(where)
        return cls(architecture, read_field(given, "architecture", str, where)[:100], files)

    @property
    def names(self) -> list[str]:
        """All files that decide the answers."""
        return [NOTE_FILE, *self.files]

    def check(self, folder: Path, pooling: Pooling) -> None:
        """Every byte; IntegrityError or MissingError, which name the file. Files that are read but were not there when
        the folder was made are refused, too."""
        for name, expected in self.files.items():
            if file_digest(folder, name) != expected:
                raise _changed_error(folder, name)
        for name in (SETTINGS_FILE, *pooling.files):
            if name not in self.files and has_file(folder, name):
                raise IntegrityError(
                    f"{name} in {folder} was not there when it was converted",
                    expected=", ".join(self.files),
                    fix=CONVERT_AGAIN,
                )
        beside = sorted(examine_file(folder / GRAPH_FILE).locations)
        if beside:
            raise IntegrityError(
                f"{GRAPH_FILE} in {folder} refers to weights in {beside[0][:200]!r}",
                expected="a graph that holds its weights",
                fix=CONVERT_AGAIN,
            )


_SIZE_KEYS = ("hidden", "vocab_size", "max_tokens", "pad_id")


def is_converted(folder: Path) -> bool:
    """Whether `deepseek convert` has made it, whole or not."""
    return has_file(folder, NOTE_FILE)


def note_digest(note: Mapping[str, Any]) -> str:
    """Of all that it says besides its own digest."""
    said = {name: value for name, value in note.items() if name != "digest"}
    return "sha256:" + hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def write_note(folder: Path, note: Mapping[str, Any]) -> list[str]:
    """Write converted.json, with the digests of the files that are there. The names of all of them."""
    names = sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name != NOTE_FILE
    )
    said = {"format": FORMAT_VERSION, **note, "files": {name: file_digest(folder, name) for name in names}}
    whole = {**said, "digest": note_digest(said)}
    (folder / NOTE_FILE).write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return [NOTE_FILE, *names]


def _is_sha256(found: object) -> bool:
    return isinstance(found, str) and re.fullmatch("[0-9a-f]{64}", found) is not None


def _changed_error(folder: Path, name: str) -> IntegrityError:
    return IntegrityError(
        f"{name} in {folder} is not as it was when the model was converted",
        expected="the bytes that deepseek convert has written",
        fix=f"copy the folder again, or {CONVERT_AGAIN}",
    )
