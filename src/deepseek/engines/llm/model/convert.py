"""A Hugging Face folder to a folder that OpenVINO GenAI runs, without torch and without transformers.

    convert(ModelFolder.read(path), target, precision="int8")

The target holds openvino_model.xml and .bin, the configs of the source, and openvino_detokenizer.xml, which GenAI
reads for one thing: the bytes of each token, by which it holds an answer to a grammar. Text is tokenized by the
library tokenizers from the source's tokenizer.json.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, get_args

from deepseek.bundle.place import exclusive_writer, replace_folder, temporary_folder
from deepseek.engines.llm.model.folder import ModelFolder, read_json
from deepseek.engines.llm.model.graph import build_decoder
from deepseek.errors import InputError
from deepseek.extras import need

Precision = Literal["fp32", "int8"]
NOTE_FILE = "deepseek.json"  # beside the graph: its precision and the format of the folder
_FORMAT_VERSION = 1  # raised when the same source would be converted in another way
_COPIED_FILES = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "chat_template.jinja",
)  # fmt: skip


def convert(source: ModelFolder, target: Path, *, precision: Precision = "fp32") -> None:
    """Write the folder `target`, whole or not at all. int8 weights are a fourth of the size and lose some accuracy."""
    if precision not in get_args(Precision):
        raise InputError(f"precision is {precision!r}", expected="fp32 or int8", fix="choose one of these")
    openvino = need("openvino", extra="llm")
    model = build_decoder(source.config, source.weights, quantized=precision == "int8")
    with exclusive_writer(target), temporary_folder(target) as folder:
        for name in _COPIED_FILES:
            if (source.path / name).is_file():
                shutil.copyfile(source.path / name, folder / name)
        (folder / NOTE_FILE).write_text(json.dumps({"precision": precision, "format": _FORMAT_VERSION}) + "\n", "utf-8")
        openvino.save_model(model, str(folder / "openvino_model.xml"), compress_to_fp16=False)
        vocabulary = token_bytes(read_json(source.path / "tokenizer.json"), source.config.vocab_size)
        openvino.save_model(build_detokenizer(vocabulary), str(folder / "openvino_detokenizer.xml"))
        replace_folder(folder, target)


def convert_cached(source: Path, cache: Path, *, precision: Precision = "fp32") -> Path:
    """The folder in `cache` that holds `source` converted; it is converted when it is not there yet.

    A source whose files changed, and another version of OpenVINO, get a folder of their own.
    """
    if (source / NOTE_FILE).is_file():
        return source  # converted already
    state = [precision, str(_FORMAT_VERSION), need("openvino", extra="llm").__version__]
    for path in sorted(path for path in source.iterdir() if path.is_file()):
        status = path.stat()
        state += [path.name, str(status.st_size), str(status.st_mtime_ns)]
    digest = hashlib.sha256("\0".join([str(source.resolve()), *state]).encode()).hexdigest()[:24]
    target = cache / f"{source.name}-{precision}-{digest}"
    if not (target / NOTE_FILE).is_file():
        cache.mkdir(parents=True, exist_ok=True)
        convert(ModelFolder.read(source), target, precision=precision)
    return target


def read_precision(folder: Path) -> Precision:
    """The precision of a converted folder. InputError when it was not made by convert()."""
    note = read_json(folder / NOTE_FILE) if (folder / NOTE_FILE).is_file() else {}
    precision: Precision | None = next((name for name in get_args(Precision) if name == note.get("precision")), None)
    if precision is None or note.get("format") != _FORMAT_VERSION:
        raise InputError(
            f"{folder} was not converted by this version",
            expected="a folder that convert() made",
            fix="convert it again",
        )
    return precision


def token_bytes(tokenizer: Mapping[str, object], vocab_size: int) -> list[bytes]:
    """The bytes that each token stands for (vocab_size,), from a parsed tokenizer.json.

    >>> token_bytes({"model": {"type": "BPE", "vocab": {"\\u0120a": 0}}, "decoder": {"type": "ByteLevel"}}, 2)
    [b' a', b'']
    """
    section = tokenizer.get("model")
    model = section if isinstance(section, dict) else {}
    vocab = model.get("vocab")
    if not isinstance(vocab, dict) or model.get("type") != "BPE":
        raise InputError(
            "tokenizer.json is of another kind",
            expected="a BPE model with its vocabulary",
            fix="serve a model with a BPE tokenizer, as GPT-2 and Llama have",
        )
    byte_level = '"ByteLevel"' in json.dumps(tokenizer.get("decoder"))
    pieces = [b""] * vocab_size
    for token, index in vocab.items():
        if type(index) is not int or not 0 <= index < vocab_size:
            raise InputError(
                f"tokenizer.json gives a token the number {str(index)[:30]}",
                expected=f"0 to {vocab_size - 1}, the vocabulary of config.json",
                fix="take the tokenizer that belongs to the model",
            )
        pieces[index] = _decode_byte_level(token) if byte_level else _decode_sentencepiece(token)
    for index, content in _added_tokens(tokenizer.get("added_tokens") or []):
        if index < vocab_size:
            pieces[index] = content.encode()
    return pieces


def byte_characters() -> dict[str, int]:
    """The character that stands for each byte in a byte-level vocabulary (GPT-2): printable bytes for themselves, the
    others for characters from 256 on, in their order.

    >>> byte_characters()["\\u0120"]
    32
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + index): byte for index, byte in enumerate(hidden)}


_CHARACTER_BYTES = byte_characters()


def _added_tokens(entries: Any) -> list[tuple[int, str]]:
    """The ids and texts of the tokens that stand beside the vocabulary."""
    tokens = []
    for entry in entries if isinstance(entries, list) else [entries]:
        index, content = (entry.get("id"), entry.get("content")) if isinstance(entry, dict) else (None, None)
        if type(index) is not int or index < 0 or not isinstance(content, str):
            raise InputError(
                "tokenizer.json has an added token without number or text",
                expected='{"id", "content", ...}',
                fix="take the tokenizer that belongs to the model",
            )
        tokens.append((index, content))
    return tokens


def _decode_byte_level(token: str) -> bytes:
    """The bytes of a token of a byte-level vocabulary."""
    try:
        return bytes(_CHARACTER_BYTES[character] for character in token)
    except KeyError:  # an added token stands for its own text
        return token.encode()


def _decode_sentencepiece(token: str) -> bytes:
    """The bytes of a token of SentencePiece: a low line for a space, <0x0A> for a byte."""
    if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
        with suppress(ValueError):
            return bytes([int(token[3:5], 16)])
    return token.replace("\u2581", " ").encode()


def build_detokenizer(vocabulary: list[bytes]) -> Any:
    """An openvino.Model from token ids (i64) to text. It names a token to skip, for GenAI expects one."""
    steps = need("openvino_tokenizers.tokenizer_pipeline", extra="llm")
    pipeline = steps.TokenizerPipeline()
    pipeline.add_steps([steps.VocabDecoderStep(vocabulary, [0], True), steps.FuseStep()])
    model = pipeline.get_detokenizer_ov_subgraph()
    i64 = need("openvino", extra="llm").Type.i64
    return need("openvino_tokenizers.utils", extra="llm").change_inputs_type(model, i64)
