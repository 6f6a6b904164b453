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
from dataclasses import dataclass, fields
from pathlib import Path
from typing import get_args

from deepseek.bundle.paths import path_problem
from deepseek.engines.onnx_file.contents import examine_file
from deepseek.engines.text.source.architecture import CONFIG_FILE, Architecture, TextTask, read_labels
from deepseek.engines.text.source.folder import file_digest, has_file, read_object
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
class ModelSizes:
    """What a server has to know of a model beside its graph; the fields of converted.json."""

    hidden: int  # numbers of the last hidden state of a token
    vocab_size: int
    max_tokens: int  # where texts are cut
    pad_id: int


@dataclass(frozen=True, slots=True)
class ConvertedFolder:
    """What converted.json says."""

    architecture: Architecture
    class_name: str  # of the source, such as DebertaV2Model
    files: Mapping[str, str]  # name -> sha256 in hex

    @classmethod
    def read(cls, folder: Path) -> ConvertedFolder:
        """The note of a folder. IntegrityError for one that was changed or does not fit; InputError for one of another
        format."""
        note = read_object(folder, NOTE_FILE)
        if note.get("format") != FORMAT_VERSION:
            raise InputError(
                f"{note.where} is of the format {str(note.get('format'))[:20]}",
                expected=f"the format {FORMAT_VERSION}",
                fix=CONVERT_AGAIN,
            )
        if note.get("digest") != note_digest(note):
            raise _changed_error(folder, NOTE_FILE)
        task, files = note.field("task", str), note.field("files", dict)
        has_good_names = all(path_problem(name) is None and _is_sha256(digest) for name, digest in files.items())
        is_whole = {GRAPH_FILE, CONFIG_FILE, TOKENIZER_FILE} <= set(files) and len(files) <= MAX_FILES
        if task not in get_args(TextTask) or not has_good_names or not is_whole:
            raise IntegrityError(
                f"{note.where} does not describe a text model", expected="what convert writes", fix=CONVERT_AGAIN
            )
        sizes = ModelSizes(*(int(note.field(field.name, int, most=2**24)) for field in fields(ModelSizes)))
        config = read_object(folder, CONFIG_FILE)
        architecture = Architecture(
            family=FAMILY, task=task, hidden=sizes.hidden, num_layers=0, num_heads=1, intermediate=0,
            vocab_size=sizes.vocab_size, num_positions=sizes.max_tokens, num_types=0, pad_id=sizes.pad_id,
            activation="", norm_eps=0.0,
            labels=read_labels(config) if task != "embedding" else (),
            multi_label=config.get("problem_type") == "multi_label_classification",
        )  # fmt: skip
        architecture.check(note.where)
        return cls(architecture, note.field("architecture", str)[:100], files)

    @property
    def names(self) -> list[str]:
        """The names of all files that decide the answers."""
        return [NOTE_FILE, *self.files]

    def check(self, folder: Path, pooling: Pooling) -> None:
        """Check every byte. IntegrityError or MissingError names the file that is not as it was; a file that is read
        but was not there when the folder was made is refused, too."""
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
        outside = sorted(examine_file(folder / GRAPH_FILE).locations)
        if outside:
            raise IntegrityError(
                f"{GRAPH_FILE} in {folder} refers to weights in {outside[0][:200]!r}",
                expected="a graph that holds its weights",
                fix=CONVERT_AGAIN,
            )


def is_converted(folder: Path) -> bool:
    """Whether `deepseek convert` has made a folder, whole or not."""
    return has_file(folder, NOTE_FILE)


def note_digest(note: Mapping[str, object]) -> str:
    """The digest of a note: sha256 of all its fields besides the digest itself."""
    fields_without_digest = {name: value for name, value in note.items() if name != "digest"}
    return "sha256:" + hashlib.sha256(json.dumps(fields_without_digest, sort_keys=True).encode()).hexdigest()


def write_note(folder: Path, note: Mapping[str, object]) -> list[str]:
    """Write converted.json, with the digests of the files in the folder. Returns the names of all files."""
    names = sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name != NOTE_FILE
    )
    whole = {"format": FORMAT_VERSION, **note, "files": {name: file_digest(folder, name) for name in names}}
    whole["digest"] = note_digest(whole)
    (folder / NOTE_FILE).write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return [NOTE_FILE, *names]


def _is_sha256(digest: object) -> bool:
    return isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest) is not None


def _changed_error(folder: Path, name: str) -> IntegrityError:
    return IntegrityError(
        f"{name} in {folder} is not as it was when the model was converted",
        expected="the bytes that deepseek convert has written",
        fix=f"copy the folder again, or {CONVERT_AGAIN}",
    )
