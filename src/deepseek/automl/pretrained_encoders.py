"""`ship --encoder`: what a person brings as the encoder of a column -> its shape, its weights and its reader.

    specs = {"report": "all-MiniLM", "ct": "resnet18:resnet18.safetensors"}
    encoders = load_encoders(specs, development, trained=("ct",))
    encoders.pretrained                   # what fit_multimodal takes
    encoders.readers["report"]            # a TextReader with the folder's own tokenizer

A folder is a text model of Hugging Face (BERT, DistilBERT, RoBERTa), NAME:FILE an image net by the name that
nn/pretrained_image.py knows and its weights as safetensors. Nothing is downloaded and no pickle is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepseek.contracts import Arrays
from deepseek.data import Table
from deepseek.data.media.source import is_missing
from deepseek.data.samples.preparer import SamplePreparer
from deepseek.errors import InputError
from deepseek.plugins import did_you_mean

if TYPE_CHECKING:
    from deepseek.data.media.text import TextReader
    from deepseek.engines.text.source.architecture import Architecture, TensorNames
    from deepseek.engines.text.source.weights import Weights
    from deepseek.nn.pretrained import PretrainedEncoders, PretrainedEncoderShape

MAX_TEXT_TOKENS = 128  # of a text that are read: attention costs by their square
EncoderWeights = dict[str, Any]  # arrays or torch tensors by the names of nn.pretrained
IMAGE_SIDE_PX = 224  # pixels of a picture: what most image nets were trained on


@dataclass(frozen=True)
class UserEncoders:
    """Encoders by column."""

    pretrained: PretrainedEncoders  # shapes and weights, by column
    readers: Mapping[str, TextReader] = field(default_factory=dict)  # of the columns of texts

    def adapt(self, preparer: SamplePreparer) -> SamplePreparer:
        """Pictures in the size that their net was trained on."""
        media = tuple(
            replace(column, reader=replace(column.reader, size=(IMAGE_SIDE_PX, IMAGE_SIDE_PX)))
            if column.kind == "image" and column.name in self.pretrained.shapes
            else column
            for column in preparer.media
        )
        return replace(preparer, media=media)


def is_folder(spec: str | Path) -> bool:
    """Whether an encoder is given as a folder: that of a text model."""
    return Path(spec).is_dir()


def load_encoders(
    specs: Mapping[str, str | Path], development: Table, *, trained: Collection[str] = ()
) -> UserEncoders:
    """Read the encoders of columns, each a folder or NAME:FILE. `development`: the rows to fit on, whose longest text
    says how many tokens are read; `trained`: columns whose encoder goes on learning.

    InputError for a column that is not there or a net that is not known; MissingError and IntegrityError for files.
    """
    from deepseek.nn.pretrained import PretrainedEncoders

    shapes, weights, readers = {}, {}, {}
    for name, spec in specs.items():
        if name not in development.columns:
            raise InputError(
                f"ship.encoders names {name!r}, which is no column.{did_you_mean(name, development.names)}",
                expected=", ".join(development.names), fix="name a column of texts or pictures",
            )  # fmt: skip
        if is_folder(spec):
            texts = [str(value) for value in development.column(name).tolist() if not is_missing(value)]
            shapes[name], weights[name], readers[name] = load_text_encoder(Path(spec), texts, trained=name in trained)
        else:
            shapes[name], weights[name] = load_image_encoder(str(spec), trained=name in trained)
    return UserEncoders(PretrainedEncoders(shapes, weights), readers)


def load_text_encoder(
    folder: Path, texts: list[str], *, trained: bool = False
) -> tuple[PretrainedEncoderShape, EncoderWeights, TextReader]:
    """Shape, weights and reader of a text model in a Hugging Face folder. `texts`: those to fit the reader on."""
    from deepseek.data.media.text import TextReader
    from deepseek.engines.text.source.architecture import Architecture, TensorNames
    from deepseek.engines.text.source.folder import read_file
    from deepseek.engines.text.source.tokens import MAX_TOKENIZER_BYTES, TOKENIZER_FILE, TextTokenizer
    from deepseek.engines.text.source.weights import Weights
    from deepseek.nn.pretrained import PretrainedEncoderShape, TextEncoderShape

    architecture, tensors = Architecture.read(folder), Weights.open(folder)
    names = TensorNames.find(architecture, tensors)
    # it fits the model, or is refused
    TextTokenizer(folder, vocab_size=architecture.vocab_size, max_tokens=architecture.max_tokens)
    tokenizer = read_file(folder, TOKENIZER_FILE, limit=MAX_TOKENIZER_BYTES).decode()
    reader = TextReader.from_tokenizer(
        tokenizer, texts, most=min(MAX_TEXT_TOKENS, architecture.max_tokens), pad_id=architecture.pad_id
    )
    text = TextEncoderShape(
        hidden=architecture.hidden, num_layers=architecture.num_layers, num_heads=architecture.num_heads,
        intermediate=architecture.intermediate, vocab_size=architecture.vocab_size,
        num_positions=architecture.max_tokens, pad_id=architecture.pad_id, activation=architecture.activation,
        norm_eps=architecture.norm_eps,
    )  # fmt: skip
    digest = _files_digest(folder / file for file in tensors.files)
    return (
        PretrainedEncoderShape(text=text, trained=trained, digest=digest),
        _text_weights(architecture, names, tensors),
        reader,
    )


def _text_weights(architecture: Architecture, names: TensorNames, tensors: Weights) -> EncoderWeights:
    """The folder's tensors by the names of nn.pretrained.TextTower."""
    shapes = dict(names.shapes(architecture))

    def array(name: str) -> Any:
        return tensors.array(name, shapes[name])

    start = names.embeddings
    positions = array(f"{start}position_embeddings.weight")[architecture.first_position :]
    if architecture.num_types:
        positions = positions + array(f"{start}token_type_embeddings.weight")[0]
    weights = {"words.weight": array(f"{start}word_embeddings.weight"), "places.weight": positions}
    for own, end in zip(("weight", "bias"), names.norm, strict=True):
        weights[f"norm.{own}"] = array(f"{start}LayerNorm.{end}")
    for index in range(architecture.num_layers):
        for part, name in names.parts.items():
            ends = names.norm if part.startswith("norm") else ("weight", "bias")
            for own, end in zip(("weight", "bias"), ends, strict=True):
                weights[f"layers.{index}.{part}.{own}"] = array(f"{names.layer.format(index)}{name}.{end}")
    return weights


def stored_weights(folder: Path, state: Arrays) -> EncoderWeights:
    """The way back: weights by the names of nn.pretrained.PretrainedTextEncoder as arrays by the names of `folder`,
    from which the encoder came. Tensors that it does not read are left out."""
    from deepseek.engines.text.source.architecture import Architecture, TensorNames
    from deepseek.engines.text.source.weights import Weights

    architecture, tensors = Architecture.read(folder), Weights.open(folder)
    names = TensorNames.find(architecture, tensors)
    shapes = dict(names.shapes(architecture))
    start = names.embeddings
    stored = {name: tensors.array(name, shape) for name, shape in shapes.items()}
    positions = stored[f"{start}position_embeddings.weight"].copy()
    first_type = stored[f"{start}token_type_embeddings.weight"][0] if architecture.num_types else 0
    positions[architecture.first_position :] = state["places.weight"] - first_type
    stored |= {f"{start}word_embeddings.weight": state["words.weight"], f"{start}position_embeddings.weight": positions}
    for own, end in zip(("weight", "bias"), names.norm, strict=True):
        stored[f"{start}LayerNorm.{end}"] = state[f"norm.{own}"]
    for index in range(architecture.num_layers):
        for part, name in names.parts.items():
            ends = names.norm if part.startswith("norm") else ("weight", "bias")
            for own, end in zip(("weight", "bias"), ends, strict=True):
                stored[f"{names.layer.format(index)}{name}.{end}"] = state[f"layers.{index}.{part}.{own}"]
    return stored


def load_image_encoder(spec: str, *, trained: bool = False) -> tuple[PretrainedEncoderShape, EncoderWeights]:
    """Shape and weights of NAME:FILE, an image net. InputError for anything else."""
    from deepseek.nn.pretrained import PretrainedEncoderShape
    from deepseek.nn.pretrained_image import read_image_weights

    name, colon, file = spec.partition(":")
    if not colon or not file:
        raise InputError(
            f"the encoder {spec!r} is no folder, and names no file of weights",
            expected="the folder of a text model, or NAME:FILE.safetensors of an image net",
            fix="such as --encoder report=all-MiniLM --encoder ct=resnet18:resnet18.safetensors",
        )
    weights = read_image_weights(name, Path(file))
    return PretrainedEncoderShape(image=name, trained=trained, digest=_files_digest([Path(file)])), weights


def _files_digest(files: Iterable[Path]) -> str:
    """sha256 over the sha256 of each file."""
    sha = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            sha.update(hashlib.file_digest(stream, "sha256").digest())
    return sha.hexdigest()
