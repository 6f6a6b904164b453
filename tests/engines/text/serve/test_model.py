"""TextModel: what a folder must be, texts into tokens, outputs into answers."""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepseek.engines.text import TextEngine, TextModel, Tokens
from deepseek.errors import DeepseekError, InputError, IntegrityError, MissingError
from support.nets.textfolders import (
    POSITIONS,
    change_json,
    make_text_folder,
    save_tensors,
    sentence_transformer,
    tensors_of,
    tokenizer_of,
    write_json,
)


@pytest.fixture(scope="module")
def model_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder for each task. Tests must not change them."""
    base = tmp_path_factory.mktemp("folders")
    tasks = ("embedding", "sequence-classification", "token-classification")
    return {task: make_text_folder(base / task, "bert", task) for task in tasks}


@pytest.fixture
def folder(model_folders: dict[str, Path], tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(model_folders["embedding"], tmp_path / "model"))


def test_a_model_says_what_it_is(model_folders: dict[str, Path]) -> None:
    model = TextModel.open(model_folders["token-classification"])
    assert (model.name, model.version, model.task) == ("token-classification", "1", "token-classification")
    assert model.labels == ("O", "B-LOC", "I-LOC", "PER")
    assert (model.max_tokens, model.size) == (POSITIONS, 32)
    assert len(model.prepare([model.example["text"]])) == 1


def test_the_digest_is_that_of_the_files_that_matter(folder: Path) -> None:
    first = TextModel.open(folder).digest
    assert len(first) == 64
    (folder / "README.md").write_text("words")
    assert TextModel.open(folder).digest == first
    sentence_transformer(folder, {"pooling_mode_cls_token": True})
    second = TextModel.open(folder).digest
    assert second != first
    save_tensors(folder, tensors_of("bert", "embedding", tokenizer_of("bert").get_vocab_size(), seed=1))
    assert TextModel.open(folder).digest not in (first, second)


def test_tokens_are_ragged_and_a_batch_is_padded(model_folders: dict[str, Path]) -> None:
    model = TextModel.open(model_folders["embedding"])
    tokens = model.prepare(["the cat", "", "a film"])
    assert isinstance(tokens, Tokens)
    assert tokens.lengths.tolist() == [4, 2, 4]
    arrays = model.join([tokens[1], tokens[0]])
    assert arrays["input_ids"].dtype == arrays["attention_mask"].dtype == np.int64
    assert arrays["input_ids"].tolist() == [[2, 3, 0, 0], tokens[0].ids.tolist()]
    assert arrays["attention_mask"].tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert model.num_tokens(tokens) == 10


def test_a_text_that_is_too_long_is_cut_and_says_so(model_folders: dict[str, Path]) -> None:
    model = TextModel.open(model_folders["embedding"])
    tokens = model.prepare(["cat " * 38, "cat " * 39])
    assert tokens.lengths.tolist() == [40, 40]
    answers = model.answers({"embedding": np.zeros((2, 32), np.float32)}, tokens)
    assert [answer.get("truncated", False) for answer in answers] == [False, True]


@pytest.mark.parametrize("piece", ["the cat sat. ", "x" * 2_000 + " ", "猫", "  ", "😀"])
def test_a_long_text_gives_the_tokens_of_its_beginning(model_folders: dict[str, Path], piece: str) -> None:
    text = (piece * 100_000)[:100_000]
    (row,) = TextModel.open(model_folders["embedding"]).prepare([text])
    exact = tokenizer_of("bert")
    exact.enable_truncation(POSITIONS)
    assert row.ids.tolist() == exact.encode(text).ids
    assert row.truncated == (piece not in ("  ", "😀"))  # one word without end is one unknown token


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ([], "no texts"),
        ("the cat", "no texts"),
        (["a", 3], "text 1 is no text"),
        (["a", None], "text 1 is no text"),
        (["a", "b\ud800c"], "text 1 holds half a letter"),
        (["a" * (4 * 2**20 + 1)], "text 0 has 4194305 letters"),
    ],
)
def test_what_is_no_text_is_refused_by_its_number(model_folders: dict[str, Path], texts: Any, words: str) -> None:
    for folder in model_folders.values():
        with pytest.raises(InputError, match=words):
            TextModel.open(folder).prepare(texts)


def test_a_megabyte_is_read_as_far_as_it_counts(model_folders: dict[str, Path]) -> None:
    model = TextModel.open(model_folders["embedding"])
    best_s = []
    for num_sentences in (5_000, 100_000):
        text, runs_s = "the cat sat on a mat. " * num_sentences, []
        for _ in range(3):
            started_s = time.process_time()
            (row,) = model.prepare([text])
            runs_s.append(time.process_time() - started_s)
            assert row.truncated
        best_s.append(min(runs_s))
    assert best_s[1] < 10 * best_s[0], "twenty times the text, read to its end, would take twenty times as long"


def test_odd_letters_give_tokens(model_folders: dict[str, Path]) -> None:
    texts = [
        "",
        " ",
        "\x00\x07",
        "猫",
        "😀👍🏽",
        "e\u0301\u0301\u0301",
        "\u202eabc",
        "\ufeff",
        "[CLS] [PAD]",
        "a\r\n\tb",
    ]
    for folder in model_folders.values():
        tokens = TextModel.open(folder).prepare(texts)
        assert (tokens.lengths >= 2).all()


def test_classes_have_probabilities_that_add_up(model_folders: dict[str, Path]) -> None:
    model = TextModel.open(model_folders["sequence-classification"])
    (answer,) = model.answers({"logits": np.float32([[1000, 0, 0]])}, model.prepare(["a"]))
    assert answer == {"label": "bad", "probabilities": {"bad": 1.0, "good": 0.0, "neither": 0.0}}
    json.dumps(answer)


def test_several_labels_may_hold_at_once(model_folders: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(model_folders["sequence-classification"], tmp_path / "model"))
    change_json(folder, "config.json", problem_type="multi_label_classification")
    model = TextModel.open(folder)
    (answer,) = model.answers({"logits": np.float32([[2, 3, -4]])}, model.prepare(["a"]))
    assert answer["label"] == "good"
    assert answer["labels"] == ["bad", "good"]
    assert answer["probabilities"]["bad"] == pytest.approx(1 / (1 + np.exp(-2)))


def test_entities_are_words_of_the_text(model_folders: dict[str, Path]) -> None:
    model = TextModel.open(model_folders["token-classification"])
    text = "The cat sat, BERLIN big  xyz"
    (row,) = tokens = model.prepare([text])
    kinds = {"berlin": 1, "big": 2, "xyz": 3, "cat": 2, "sat": 1}
    logits = np.full((1, len(row) + 3, 4), -9.0, np.float32)
    for token, (word, (start, end)) in enumerate(zip(row.words, row.offsets, strict=True)):
        name = "xyz" if text[start:end] == "x" else text[start:end].lower()
        logits[0, token, kinds.get(name, 0) if word is not None else 1] = 9  # a special token never counts
    (answer,) = model.answers({"logits": logits}, tokens)
    entities = [(item["text"], item["label"], item["start"], item["end"]) for item in answer["entities"]]
    assert entities == [
        ("cat", "LOC", 4, 7),
        ("sat", "LOC", 8, 11),
        ("BERLIN big", "LOC", 13, 23),
        ("xyz", "PER", 25, 28),
    ]
    assert all(item["probability"] > 0.99 for item in answer["entities"])


def test_a_prompt_and_lower_case_are_those_of_sentence_transformers(folder: Path) -> None:
    sentence_transformer(folder, {"pooling_mode_mean_tokens": True}, max_seq_length=6, do_lower_case=True)
    prompt = {"prompts": {"query": "The film "}, "default_prompt_name": "query"}
    write_json(folder, "config_sentence_transformers.json", prompt)
    model = TextModel.open(folder)
    assert model.max_tokens == 6
    expected = TextModel.open(folder)._tokenizer.encode(["the film cat"])
    assert model.prepare(["CAT"])[0].ids.tolist() == expected[0].ids.tolist()


def test_links_to_plain_files_are_followed(folder: Path, tmp_path: Path) -> None:
    """Hugging Face's cache is made of links."""
    linked = tmp_path / "linked"
    linked.mkdir()
    for file in folder.iterdir():
        (linked / file.name).symlink_to(file)
    assert TextModel.open(linked).digest == TextModel.open(folder).digest


# What a folder must be ------------------------------------------------------------------------------------------------


def cut(file: str, share: float) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        data = (folder / file).read_bytes()
        (folder / file).write_bytes(data[: int(len(data) * share)])

    return change


def written(file: str, data: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / file).write_bytes(data)


def configured(**changes: Any) -> Callable[[Path], object]:
    return lambda folder: change_json(folder, "config.json", **changes)


def piped(file: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        (folder / file).unlink()
        os.mkfifo(folder / file)

    return change


def wider_tokenizer(folder: Path) -> None:
    tokenizer = tokenizer_of("bert")
    tokenizer.add_tokens(["neverseen"])
    tokenizer.save(str(folder / "tokenizer.json"))


def tensors_changed(**shapes: tuple[int, ...]) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        tensors = tensors_of("bert", "embedding", tokenizer_of("bert").get_vocab_size())
        tensors |= {name.replace("__", "."): np.ones(shape, np.float32) for name, shape in shapes.items()}
        save_tensors(folder, {name: array for name, array in tensors.items() if array.size})

    return change


def of_integers(folder: Path) -> None:
    tensors = tensors_of("bert", "embedding", tokenizer_of("bert").get_vocab_size())
    save_tensors(folder, {name: array.astype(np.int8) for name, array in tensors.items()})


def modules(*entries: Any) -> Callable[[Path], object]:
    return lambda folder: write_json(folder, "modules.json", list(entries))


def shards(**index: Any) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "model-1.safetensors")
        write_json(folder, "model.safetensors.index.json", index)

    return change


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def pooled(**config: Any) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        sentence_transformer(folder, {})
        write_json(folder, "1_Pooling/config.json", config)

    return change


FIRST = {"path": "", "type": "sentence_transformers.models.Transformer"}
BROKEN: list[tuple[Callable[[Path], object], type[DeepseekError], str]] = [
    (lambda folder: (folder / "config.json").unlink(), MissingError, "config.json is missing"),
    (lambda folder: (folder / "tokenizer.json").unlink(), MissingError, "tokenizer.json is missing"),
    (lambda folder: (folder / "model.safetensors").unlink(), MissingError, "has no model.safetensors"),
    (pickled, MissingError, "pytorch_model.bin is a pickle and never loaded"),
    (cut("config.json", 0.5), IntegrityError, "config.json .* is no JSON"),
    (written("config.json", b"[1]"), IntegrityError, "holds no object"),
    (written("config.json", b"\xff\xfe{}"), IntegrityError, "is no JSON"),
    (written("config.json", b"[" * 100_000), IntegrityError, "is no JSON"),
    (written("config.json", b" " * (5 * 2**20)), IntegrityError, "has 5242880 bytes"),
    (piped("config.json"), IntegrityError, "no plain file"),
    (piped("tokenizer.json"), IntegrityError, "no plain file"),
    (configured(model_type="modernbert", architectures=["ModernBertModel"]), InputError, "ModernBertModel"),
    (configured(architectures=["BertForQuestionAnswering"]), InputError, "BertForQuestionAnswering"),
    (configured(model_type=None, architectures=None), InputError, "without a name"),
    (configured(hidden_size="32"), IntegrityError, "hidden_size is '32'"),
    (configured(hidden_size=-1), IntegrityError, "hidden_size is -1"),
    (configured(hidden_size=True), IntegrityError, "hidden_size is True"),
    (configured(hidden_size=64), IntegrityError, r"has the shape .*, 32\]"),
    (configured(num_attention_heads=5), IntegrityError, "do not fit together"),
    (configured(num_attention_heads=0), IntegrityError, "do not fit together"),
    (configured(num_hidden_layers=10**9), IntegrityError, "num_hidden_layers is 1000000000"),
    (configured(num_hidden_layers=3), IntegrityError, "no tensor 'encoder.layer.2."),
    (configured(num_hidden_layers=1), IntegrityError, "more layers than the 1"),
    (configured(max_position_embeddings=0), IntegrityError, "do not fit together"),
    (configured(pad_token_id=10**6), IntegrityError, "do not fit together"),
    (configured(layer_norm_eps="NaN"), IntegrityError, "layer_norm_eps"),
    (configured(hidden_act="swish"), InputError, "activation 'swish'"),
    (configured(position_embedding_type="relative_key"), InputError, "position_embedding_type"),
    (configured(is_decoder=True), InputError, "is_decoder"),
    (configured(quantization_config={"bits": 4}), InputError, "quantization_config"),
    (written("tokenizer.json", b"{}"), IntegrityError, "tokenizer.json .* does not work"),
    (cut("tokenizer.json", 0.9), IntegrityError, "tokenizer.json .* does not work"),
    (wider_tokenizer, IntegrityError, "has ids up to"),
    (cut("model.safetensors", 0.9), IntegrityError, "does not hold what its header says"),
    (cut("model.safetensors", 0.001), IntegrityError, "header that is longer than the file"),
    (written("model.safetensors", b""), IntegrityError, "header that is longer than the file"),
    (written("model.safetensors", struct.pack("<Q", 2**62) + b"{}"), IntegrityError, "longer than the file"),
    (written("model.safetensors", struct.pack("<Q", 9 * 2**20) + b" " * (9 * 2**20)), IntegrityError, "more than"),
    (written("model.safetensors", struct.pack("<Q", 2) + b"{}"), IntegrityError, "no tensor"),
    (tensors_changed(embeddings__LayerNorm__bias=(31,)), IntegrityError, r"LayerNorm.bias' has the shape \[31\]"),
    (tensors_changed(embeddings__LayerNorm__bias=(0,)), IntegrityError, "no tensor 'embeddings.LayerNorm.bias'"),
    (of_integers, InputError, "is of type I8"),
    (shards(), IntegrityError, "has no weight_map"),
    (shards(weight_map={"a": "../model-1.safetensors"}), IntegrityError, r"names '\.\./model-1"),
    (shards(weight_map={"a": "model-1.bin"}), IntegrityError, "names 'model-1.bin'"),
    (shards(weight_map={"a": 3}), IntegrityError, "names 3"),
    (shards(weight_map={"a": "model-2.safetensors"}), MissingError, "model-2.safetensors is missing"),
    (shards(weight_map={"a": "model-1.safetensors"}), IntegrityError, "has no tensor 'a'"),
    (modules(), IntegrityError, "does not begin with a Transformer"),
    (modules({"path": "../x", "type": "Pooling"}), IntegrityError, "leads outside"),
    (modules(FIRST, {"path": "../x", "type": "a.Pooling"}), IntegrityError, "leads outside"),
    (modules(FIRST, {"path": "2_Dense", "type": "a.Dense"}), InputError, "module 'Dense'"),
    (modules(FIRST, {"path": "1_Pooling", "type": "a.Pooling"}), MissingError, "1_Pooling/config.json is missing"),
    (pooled(pooling_mode_weightedmean_tokens=True), InputError, "weightedmean"),
    (pooled(), InputError, "has no mode"),
]


@pytest.mark.parametrize(("change", "kind", "words"), BROKEN, ids=[words[:40] for _, _, words in BROKEN])
def test_a_folder_that_is_not_whole_is_refused(
    folder: Path, change: Callable[[Path], object], kind: type[DeepseekError], words: str
) -> None:
    TextModel.open(folder)
    change(folder)
    with pytest.raises(kind, match=words) as raised:
        TextModel.open(folder)
    assert type(raised.value) is kind
    assert raised.value.expected
    assert raised.value.fix


ODD = [
    None, True, 0, -1, 3, 1.5, math.nan, 10**30, 10**400, "", "x", "\ud800", [], {}, {"0": "a", "1": "b"}, "roberta",
    ["BertForSequenceClassification"],
]  # fmt: skip


@pytest.mark.parametrize("seed", range(40))
def test_files_with_odd_values_answer_or_are_refused(model_folders: dict[str, Path], tmp_path: Path, seed: int) -> None:
    """Whatever stands in a file: numbers come out, or one of our errors."""
    choose = random.Random(seed)
    folder = Path(shutil.copytree(model_folders[choose.choice(list(model_folders))], tmp_path / "model"))
    sentence_transformer(folder, {"pooling_mode_mean_tokens": True}, max_seq_length=20)
    names = ("config.json", "modules.json", "1_Pooling/config.json", "sentence_bert_config.json")
    file = folder / choose.choice(names)
    value = json.loads(file.read_text("utf-8"))
    for _ in range(choose.choice([1, 2])):
        where: Any = choose.choice(value) if isinstance(value, list) else value
        where[choose.choice(list(where))] = choose.choice(ODD)
    file.write_text(json.dumps(value))
    answers: list[Any] = [{}, {}]
    with contextlib.suppress(DeepseekError):
        model = TextModel.open(folder)
        tokens = model.prepare(["the cat", ""])
        answers = model.answers(TextEngine.open(folder).run(model.join(tokens)), tokens)
    assert len(answers) == 2
    json.dumps(answers, allow_nan=False)


@pytest.mark.parametrize(
    "labels", [{}, {"0": "a"}, {"0": "a", "2": "b"}, {"0": "a", "1": "a"}, {"0": "a", "1": 3}, "x"]
)
def test_labels_that_do_not_fit_are_refused(model_folders: dict[str, Path], tmp_path: Path, labels: Any) -> None:
    folder = Path(shutil.copytree(model_folders["sequence-classification"], tmp_path / "model"))
    change_json(folder, "config.json", id2label=labels)
    with pytest.raises((IntegrityError, InputError), match="label"):
        TextModel.open(folder)


@pytest.mark.parametrize("path", ["/no/such/folder", "", "a\0b", "x" * 5_000])
def test_what_is_no_folder_is_refused(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingError):
        TextModel.open(path)
