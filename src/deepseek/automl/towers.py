"""`ship --encoder`: what a person brings as the encoder of a column -> its shape, its weights and its reader.

    brought = bring({"report": "all-MiniLM", "ct": "resnet18:resnet18.safetensors"}, development, trained=("ct",))
    brought.towers                       # what fit_fusion takes
    brought.readers["report"]            # a TextReader with the folder's own tokenizer

A folder is a text model of Hugging Face (BERT, DistilBERT, RoBERTa), NAME:FILE an image net by the name that
nn/image_towers.py knows and its weights as safetensors. Nothing is downloaded and no pickle is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepseek.data import Table
from deepseek.data.media.source import is_missing
from deepseek.data.samples.preparer import SamplePreparer
from deepseek.errors import InputError
from deepseek.plugins import did_you_mean

if TYPE_CHECKING:
    from deepseek.nn.pretrained import Towers

MOST_TOKENS = 128  # of a text that are read: attention costs by their square
SIDE = 224  # pixels of a picture: what most image nets were trained on


@dataclass(frozen=True)
class Brought:
    """Encoders by column."""

    towers: Towers
    readers: Mapping[str, Any] = field(default_factory=dict)  # of the texts

    def adapt(self, preparer: SamplePreparer) -> SamplePreparer:
        """Pictures in the size that their net was trained on."""
        media = tuple(
            replace(column, reader=replace(column.reader, size=(SIDE, SIDE)))
            if column.kind == "image" and column.name in self.towers.shapes
            else column
            for column in preparer.media
        )
        return replace(preparer, media=media)


def is_folder(spec: str | Path) -> bool:
    """Whether an encoder is given as a folder: that of a text model."""
    return Path(spec).is_dir()


def bring(asked: Mapping[str, str | Path], development: Table, *, trained: Collection[str] = ()) -> Brought:
    """Read what was asked for, by column. `development`: the rows that teach, whose longest text says how many tokens
    are read; `trained`: columns whose encoder goes on learning.

    InputError for a column that is not there or a net that is not known; MissingError and IntegrityError for files.
    """
    from deepseek.nn.pretrained import Towers

    shapes, weights, readers = {}, {}, {}
    for name, spec in asked.items():
        if name not in development.columns:
            raise InputError(
                f"ship.encoders names {name!r}, which is no column.{did_you_mean(name, development.names)}",
                expected=", ".join(development.names), fix="name a column of texts or pictures",
            )  # fmt: skip
        if is_folder(spec):
            texts = [str(value) for value in development.column(name).tolist() if not is_missing(value)]
            shapes[name], weights[name], readers[name] = text_tower(Path(spec), texts, trained=name in trained)
        else:
            shapes[name], weights[name] = image_tower(str(spec), trained=name in trained)
    return Brought(Towers(shapes, weights), readers)


def text_tower(folder: Path, texts: list[str], *, trained: bool = False) -> tuple[Any, dict[str, Any], Any]:
    """(TowerShape, weights, TextReader) of a Hugging Face folder."""
    from deepseek.data.media.text import TextReader
    from deepseek.engines.text.source.architecture import Architecture, Names
    from deepseek.engines.text.source.folder import read_file
    from deepseek.engines.text.source.tokens import MAX_TOKENIZER_BYTES, TOKENIZER, TextTokenizer
    from deepseek.engines.text.source.weights import Weights
    from deepseek.nn.pretrained import TextTowerShape, TowerShape

    found, tensors = Architecture.read(folder), Weights.open(folder)
    names = Names.find(found, tensors)
    TextTokenizer(folder, vocab_size=found.vocab_size, max_tokens=found.max_tokens)  # it fits the model, or is refused
    tokenizer = read_file(folder, TOKENIZER, limit=MAX_TOKENIZER_BYTES).decode()
    reader = TextReader.given(tokenizer, texts, most=min(MOST_TOKENS, found.max_tokens), pad_id=found.pad_id)
    text = TextTowerShape(
        hidden=found.hidden, num_layers=found.num_layers, num_heads=found.num_heads, intermediate=found.intermediate,
        vocab_size=found.vocab_size, num_positions=found.max_tokens, pad_id=found.pad_id, activation=found.activation,
        norm_eps=found.norm_eps,
    )  # fmt: skip
    digest = _digest(folder / file for file in tensors.files)
    return TowerShape(text=text, trained=trained, digest=digest), _text_weights(found, names, tensors), reader


def _text_weights(found: Any, names: Any, tensors: Any) -> dict[str, Any]:
    """By the names of nn.pretrained.TextTower."""
    shapes = dict(names.shapes(found))

    def array(name: str) -> Any:
        return tensors.array(name, shapes[name])

    start = names.embeddings
    places = array(f"{start}position_embeddings.weight")[found.first_position :]
    if found.num_types:
        places = places + array(f"{start}token_type_embeddings.weight")[0]
    made = {"words.weight": array(f"{start}word_embeddings.weight"), "places.weight": places}
    for own, end in zip(("weight", "bias"), names.norm, strict=True):
        made[f"norm.{own}"] = array(f"{start}LayerNorm.{end}")
    for index in range(found.num_layers):
        for part, name in names.parts.items():
            ends = names.norm if part.startswith("norm") else ("weight", "bias")
            for own, end in zip(("weight", "bias"), ends, strict=True):
                made[f"layers.{index}.{part}.{own}"] = array(f"{names.layer.format(index)}{name}.{end}")
    return made


def image_tower(spec: str, *, trained: bool = False) -> tuple[Any, dict[str, Any]]:
    """(TowerShape, weights) of NAME:FILE."""
    from deepseek.nn.image_towers import tower_weights
    from deepseek.nn.pretrained import TowerShape

    name, colon, file = spec.partition(":")
    if not colon or not file:
        raise InputError(
            f"the encoder {spec!r} is no folder, and names no file of weights",
            expected="the folder of a text model, or NAME:FILE.safetensors of an image net",
            fix="such as --encoder report=all-MiniLM --encoder ct=resnet18:resnet18.safetensors",
        )
    weights = tower_weights(name, Path(file))
    return TowerShape(image=name, trained=trained, digest=_digest([Path(file)])), weights


def _digest(files: Iterable[Path]) -> str:
    sha = hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            sha.update(hashlib.file_digest(opened, "sha256").digest())
    return sha.hexdigest()
