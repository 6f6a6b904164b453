"""Small Hugging Face folders with random weights, written without torch, in the shape that transformers writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

HIDDEN, LAYERS, HEADS, WIDE, POSITIONS = 32, 2, 4, 64, 40
SENTENCE = "the cat sat on a mat and berlin is big , . ! i am very happy sad not at all good bad film"
LETTERS = [chr(code) for code in range(ord("a"), ord("z") + 1)]
ENDS = {
    "embedding": "Model",
    "sequence-classification": "ForSequenceClassification",
    "token-classification": "ForTokenClassification",
}
CLASSES = {"bert": "Bert", "distilbert": "DistilBert", "roberta": "Roberta", "xlm-roberta": "XLMRoberta"}
LABELS = {"sequence-classification": ("bad", "good", "neither"), "token-classification": ("O", "B-LOC", "I-LOC", "PER")}


def tokenizer_of(family: str) -> Tokenizer:
    """WordPiece of a few words and all letters; single bytes for RoBERTa."""
    if "roberta" in family:
        pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
        vocab = {piece: number for number, piece in enumerate(pieces)}
        tokenizer = Tokenizer(models.BPE(vocab, [], unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    else:
        pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys([*SENTENCE.split(), *LETTERS, "猫"])]
        pieces += [f"##{letter}" for letter in LETTERS]
        vocab = {piece: number for number, piece in enumerate(pieces)}
        tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        special = [("[CLS]", vocab["[CLS]"]), ("[SEP]", vocab["[SEP]"])]
        tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=special)
    tokenizer.add_special_tokens(pieces[:5])
    return tokenizer


def config_of(family: str, task: str, vocab_size: int) -> dict[str, Any]:
    roberta = "roberta" in family
    sizes: dict[str, Any] = {
        "hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "intermediate_size": WIDE,
        "hidden_act": "gelu", "layer_norm_eps": 1e-5, "type_vocab_size": 1 if roberta else 2,
    }  # fmt: skip
    if family == "distilbert":
        sizes = {"dim": HIDDEN, "n_layers": LAYERS, "n_heads": HEADS, "hidden_dim": WIDE, "activation": "gelu"}
    config = {
        "model_type": family,
        "architectures": [CLASSES[family] + ENDS[task]],
        "vocab_size": vocab_size,
        "max_position_embeddings": POSITIONS,
        "pad_token_id": 1 if roberta else 0,
        **sizes,
    }
    if task in LABELS:
        config["id2label"] = {str(number): label for number, label in enumerate(LABELS[task])}
        config["label2id"] = {label: number for number, label in enumerate(LABELS[task])}
    return config


def tensors_of(family: str, task: str, vocab_size: int, seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    """Random tensors under the names that transformers gives them."""
    base = "roberta" if "roberta" in family else family
    start = "" if task == "embedding" else f"{base}."
    tensors: dict[str, np.ndarray[Any, Any]] = {}
    random = np.random.default_rng(seed)

    def put(name: str, *shape: int, around: float = 0.0) -> None:
        tensors[name] = (around + 0.3 * random.standard_normal(shape)).astype(np.float32)

    def dense(name: str, num_out: int, num_in: int) -> None:
        put(f"{name}.weight", num_out, num_in)
        put(f"{name}.bias", num_out)

    def norm(name: str) -> None:
        put(f"{name}.weight", HIDDEN, around=1.0)
        put(f"{name}.bias", HIDDEN)

    put(f"{start}embeddings.word_embeddings.weight", vocab_size, HIDDEN)
    put(f"{start}embeddings.position_embeddings.weight", POSITIONS, HIDDEN)
    if base != "distilbert":
        put(f"{start}embeddings.token_type_embeddings.weight", 1 if base == "roberta" else 2, HIDDEN)
    norm(f"{start}embeddings.LayerNorm")
    for number in range(LAYERS):
        if base == "distilbert":
            layer = f"{start}transformer.layer.{number}."
            square = [f"attention.{part}_lin" for part in ("q", "k", "v", "out")]
            norms, up, down = ("sa_layer_norm", "output_layer_norm"), "ffn.lin1", "ffn.lin2"
        else:
            layer = f"{start}encoder.layer.{number}."
            square = [f"attention.self.{part}" for part in ("query", "key", "value")] + ["attention.output.dense"]
            norms, up, down = ("attention.output.LayerNorm", "output.LayerNorm"), "intermediate.dense", "output.dense"
        for name in square:
            dense(layer + name, HIDDEN, HIDDEN)
        for name in norms:
            norm(layer + name)
        dense(layer + up, WIDE, HIDDEN)
        dense(layer + down, HIDDEN, WIDE)
    if task == "sequence-classification":
        first = {"bert": "bert.pooler.dense", "distilbert": "pre_classifier", "roberta": "classifier.dense"}[base]
        dense(first, HIDDEN, HIDDEN)
        dense("classifier.out_proj" if base == "roberta" else "classifier", len(LABELS[task]), HIDDEN)
    if task == "token-classification":
        dense("classifier", len(LABELS[task]), HIDDEN)
    return tensors


def write_json(folder: Path, name: str, value: Any) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(value), "utf-8")


def change_json(folder: Path, name: str, **changes: Any) -> None:
    write_json(folder, name, json.loads((folder / name).read_text("utf-8")) | changes)


def save_tensors(folder: Path, tensors: dict[str, np.ndarray[Any, Any]]) -> None:
    safetensors.numpy.save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def make_text_folder(folder: Path, family: str = "bert", task: str = "embedding", *, seed: int = 0) -> Path:
    """A whole folder of a model that knows the words of SENTENCE and single letters, POSITIONS tokens long."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = tokenizer_of(family)
    write_json(folder, "config.json", config_of(family, task, tokenizer.get_vocab_size()))
    tokenizer.save(str(folder / "tokenizer.json"))
    save_tensors(folder, tensors_of(family, task, tokenizer.get_vocab_size(), seed))
    return folder


def sentence_transformer(folder: Path, modes: dict[str, bool], *, normalize: bool = False, **settings: Any) -> Path:
    """Adds the files of sentence-transformers to a folder."""
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), *([("2_Normalize", "Normalize")] if normalize else [])]
    modules = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, (path, kind) in enumerate(kinds)
    ]
    write_json(folder, "modules.json", modules)
    write_json(folder, "1_Pooling/config.json", {"word_embedding_dimension": HIDDEN, **modes})
    write_json(folder, "sentence_bert_config.json", settings)
    return folder
