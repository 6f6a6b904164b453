"""TextEngine: the answers of transformers, without torch."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepseek.engines.text import TextEngine, TextModel
from deepseek.engines.text.serve.calibrate import calibrate
from deepseek.engines.text.serve.quantize import ActivationRange, ranges_from_bytes, ranges_to_bytes
from deepseek.errors import InputError, IntegrityError
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

TEXTS = [
    "the cat sat on a mat",
    "i am not at all happy !",
    "",
    "猫 😀 x",
    "berlin is big, and the film is very very very bad . " * 4,
]
CASES = [
    ("bert", "embedding"),
    ("bert", "sequence-classification"),
    ("bert", "token-classification"),
    ("distilbert", "sequence-classification"),
    ("distilbert", "token-classification"),
    ("roberta", "embedding"),
    ("roberta", "sequence-classification"),
    ("xlm-roberta", "token-classification"),
]


def run(folder: Path, texts: list[str], **options: Any) -> np.ndarray[Any, Any]:
    model = TextModel.open(folder)
    engine = TextEngine.open(folder, **options)
    (output,) = engine.run(model.join(model.prepare(texts))).values()
    engine.close()
    return output


def by_transformers(folder: Path, task: str, texts: list[str]) -> np.ndarray[Any, Any]:
    """The same ids through torch: the last hidden state or the logits, (N, L, ...)."""
    import torch
    import transformers

    classes = {
        "embedding": transformers.AutoModel,
        "sequence-classification": transformers.AutoModelForSequenceClassification,
        "token-classification": transformers.AutoModelForTokenClassification,
    }
    module, info = classes[task].from_pretrained(folder, output_loading_info=True)
    assert not [name for name in info["missing_keys"] if "pooler" not in name]
    model = TextModel.open(folder)
    arrays = {name: torch.tensor(array) for name, array in model.join(model.prepare(texts)).items()}
    with torch.inference_mode():
        return np.asarray(module.eval()(**arrays)[0])


@pytest.mark.parametrize(("family", "task"), CASES)
def test_answers_are_those_of_transformers(tmp_path: Path, family: str, task: str) -> None:
    folder = make_text_folder(tmp_path / "model", family, task)
    expected = by_transformers(folder, task, TEXTS)
    output = run(folder, TEXTS)
    lengths = TextModel.open(folder).prepare(TEXTS).lengths
    assert lengths.max() == TextModel.open(folder).max_tokens  # the last text is cut
    if task == "embedding":
        rows = [expected[number, :length] for number, length in enumerate(lengths)]
        assert np.abs(output - np.stack([row.mean(axis=0) for row in rows])).max() < 1e-5
    elif task == "token-classification":
        assert output.shape == expected.shape
        for number, length in enumerate(lengths):
            assert np.abs(output[number, :length] - expected[number, :length]).max() < 2e-5
    else:
        assert np.abs(output - expected).max() < 2e-5


def test_activations_and_old_names_are_those_of_transformers(tmp_path: Path) -> None:
    folder = make_text_folder(tmp_path / "model")
    for activation in ("gelu_new", "relu"):
        change_json(folder, "config.json", hidden_act=activation)
        expected = by_transformers(folder, "embedding", TEXTS[:1])
        assert np.abs(run(folder, TEXTS[:1]) - expected.mean(axis=1)).max() < 1e-5
    tensors = tensors_of("bert", "embedding", tokenizer_of("bert").get_vocab_size())
    renamed = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): array
        for name, array in tensors.items()
    }
    save_tensors(folder, {f"bert.{name}": array for name, array in renamed.items()})
    assert np.abs(run(folder, TEXTS[:1]) - expected.mean(axis=1)).max() < 1e-5


@pytest.mark.parametrize(
    ("mode", "by_hand"),
    [
        ("pooling_mode_cls_token", lambda row: row[0]),
        ("pooling_mode_max_tokens", lambda row: row.max(axis=0)),
        ("pooling_mode_mean_tokens", lambda row: row.mean(axis=0)),
        ("pooling_mode_mean_sqrt_len_tokens", lambda row: row.sum(axis=0) / np.sqrt(len(row))),
    ],
)
def test_pooling_is_read_from_the_folder(tmp_path: Path, mode: str, by_hand: Any) -> None:
    """Token by token from a token-classification head that copies the hidden state: no torch is needed."""
    folder = make_text_folder(tmp_path / "model")
    sentence_transformer(folder, {mode: True}, normalize=True)
    hidden = hidden_states(folder, tmp_path / "copy", TEXTS)
    expected = np.stack([by_hand(row) for row in hidden])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.abs(run(folder, TEXTS) - expected).max() < 1e-5


def hidden_states(folder: Path, copy: Path, texts: list[str]) -> list[np.ndarray[Any, Any]]:
    tensors = tensors_of("bert", "embedding", tokenizer_of("bert").get_vocab_size())
    make_text_folder(copy, "bert", "token-classification")
    change_json(copy, "config.json", id2label={str(number): f"unit {number}" for number in range(32)})
    head = {"classifier.weight": np.eye(32, dtype=np.float32), "classifier.bias": np.zeros(32, np.float32)}
    save_tensors(copy, {f"bert.{name}": array for name, array in tensors.items()} | head)
    lengths = TextModel.open(folder).prepare(texts).lengths
    return [row[:length] for row, length in zip(run(copy, texts), lengths, strict=True)]


def test_several_poolings_stand_one_after_another(tmp_path: Path) -> None:
    folder = make_text_folder(tmp_path / "model")
    parts = []
    for mode in ("pooling_mode_cls_token", "pooling_mode_mean_tokens"):
        parts.append(run(sentence_transformer(folder, {mode: True}), TEXTS))
    both = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}
    assert TextModel.open(sentence_transformer(folder, both)).size == 64
    assert np.abs(run(folder, TEXTS) - np.concatenate(parts, axis=1)).max() < 1e-6


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "shards"])
def test_other_types_and_shards_hold_the_same_model(tmp_path: Path, kind: str) -> None:
    import torch
    from safetensors.torch import save_file

    folder = make_text_folder(tmp_path / "model")
    tensors = tensors_of("bert", "embedding", tokenizer_of("bert").get_vocab_size())
    expected = run(folder, TEXTS)
    if kind == "shards":
        (folder / "model.safetensors").unlink()
        where = {}
        for number, name in enumerate(tensors):
            where[name] = f"model-{number % 3}.safetensors"
        for file in set(where.values()):
            save_file({name: torch.tensor(tensors[name]) for name in tensors if where[name] == file}, folder / file)
        write_json(folder, "model.safetensors.index.json", {"weight_map": where})
        assert np.array_equal(run(folder, TEXTS), expected)
        return
    lower = {name: torch.tensor(array).to(getattr(torch, kind)) for name, array in tensors.items()}
    save_file(lower, folder / "model.safetensors")
    rounded = run(folder, TEXTS)
    save_tensors(folder, {name: array.float().numpy() for name, array in lower.items()})
    assert np.array_equal(rounded, run(folder, TEXTS))
    assert 0 < np.abs(rounded - expected).max() < 0.2


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_what_stands_beside_a_text_does_not_change_its_answer(tmp_path: Path, family: str) -> None:
    folder = make_text_folder(tmp_path / "model", family)
    together = run(folder, TEXTS)
    alone = np.concatenate([run(folder, [text]) for text in TEXTS])
    assert np.abs(together - alone).max() < 2e-6


@pytest.mark.parametrize("task", ["embedding", "sequence-classification", "token-classification"])
def test_groups_of_like_length_give_each_text_its_own_answer(tmp_path: Path, task: str) -> None:
    folder = make_text_folder(tmp_path / "model", "bert", task)
    model, engine = TextModel.open(folder), TextEngine.open(folder)
    tokens = model.prepare(["cat " * length for length in (30, 1, 9, 17, 2, 29, 18, 10)])
    (together,) = engine.run(model.join(tokens)).values()
    for row, own in enumerate(tokens):
        (alone,) = engine.run(model.join([own])).values()
        row_output = together[row, : len(own)] if together.ndim == 3 else together[row]
        assert np.abs(row_output - alone[0]).max() < 2e-6


def test_threads_share_an_engine(tmp_path: Path) -> None:
    folder = make_text_folder(tmp_path / "model")
    model, engine = TextModel.open(folder), TextEngine.open(folder)
    batches = [model.join(model.prepare(["the cat " * number, "a film"])) for number in range(1, 9)]
    alone = [engine.run(batch)["embedding"] for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        outputs = list(pool.map(lambda number: engine.run(batches[number % 8])["embedding"], range(200)))
    assert all(np.array_equal(outputs[number], alone[number % 8]) for number in range(200))


@pytest.mark.parametrize(
    "arrays",
    [
        {"input_ids": [[1, 2]], "attention_mask": [[1]]},
        {"input_ids": [1, 2], "attention_mask": [1, 1]},
        {"input_ids": [[1, 999_999]], "attention_mask": [[1, 1]]},
        {"input_ids": [[-1, 2]], "attention_mask": [[1, 1]]},
        {"input_ids": [[1.5, 2]], "attention_mask": [[1, 1]]},
        {"input_ids": np.zeros((0, 3), int), "attention_mask": np.zeros((0, 3))},
        {"input_ids": [[1] * (POSITIONS + 1)], "attention_mask": [[1] * (POSITIONS + 1)]},
        {"attention_mask": [[1]]},
    ],
)
def test_arrays_that_do_not_fit_are_refused(small: TextEngine, arrays: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        small.run({name: np.array(array) for name, array in arrays.items()})


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> TextEngine:
    return TextEngine.open(make_text_folder(tmp_path_factory.mktemp("small") / "model"))


def test_a_row_without_tokens_harms_no_other(small: TextEngine) -> None:
    ids = np.array([[2, 7, 3], [2, 8, 3]])
    alone = small.run({"input_ids": ids[:1], "attention_mask": np.ones((1, 3), int)})["embedding"]
    mask = np.array([[1, 1, 1], [0, 0, 0]])
    embeddings = small.run({"input_ids": ids, "attention_mask": mask})["embedding"]
    assert np.abs(embeddings[0] - alone[0]).max() < 1e-6


def test_weights_that_are_not_finite_are_refused_by_name(tmp_path: Path) -> None:
    folder = make_text_folder(tmp_path / "model")
    tensors = tensors_of("bert", "embedding", tokenizer_of("bert").get_vocab_size())
    tensors["encoder.layer.1.output.dense.weight"][3, 4] = np.nan
    save_tensors(folder, tensors)
    with pytest.raises(IntegrityError, match=r"encoder\.layer\.1\.output\.dense\.weight.*NaN"):
        TextEngine.open(folder)


def test_an_unknown_precision_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="int4"):
        TextEngine.open(make_text_folder(tmp_path / "model"), precision="int4")  # type: ignore[arg-type]


def test_minilm_knows_what_belongs_together(minilm: Path) -> None:
    texts = [
        "How do I reset my password?",
        "I forgot my password and want a new one.",
        "The weather in Paris is lovely today.",
        "It is a sunny day in the capital of France.",
    ]
    output = run(minilm, texts)
    assert output.shape == (4, 384)
    assert np.abs(np.linalg.norm(output, axis=1) - 1).max() < 1e-5
    cosine = output @ output.T
    assert cosine[0, 1] > 0.6
    assert cosine[2, 3] > 0.6
    assert cosine[:2, 2:].max() < 0.2


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "least"), [("bf16", 0.999), ("int8", 0.97)])
def test_lower_precisions_stay_near(minilm: Path, precision: str, least: float) -> None:
    texts = ["Where is my card?", "The film was a waste of a good cast.", "ok", "Please cancel order 123-456."]
    exact, lossy = run(minilm, texts), run(minilm, texts, precision=precision)
    assert (exact * lossy).sum(axis=1).min() > least


def test_calibration_goes_through_bytes(tmp_path: Path) -> None:
    folder = make_text_folder(tmp_path / "model", "roberta", "sequence-classification")
    ranges = calibrate(folder, TEXTS)
    assert sorted(ranges)[:5] == ["head.dense", "head.out", "layer0.down", "layer0.o", "layer0.qkv"]
    output = run(folder, TEXTS, precision="int8", ranges=ranges_from_bytes(ranges_to_bytes(ranges)))
    assert np.abs(output - run(folder, TEXTS)).max() < 0.5
    with pytest.raises(IntegrityError):
        ranges_from_bytes(b"nonsense")


def test_ranges_of_another_model_are_refused(tmp_path: Path) -> None:
    folder = make_text_folder(tmp_path / "model")
    good = calibrate(folder, TEXTS)["layer0.up"]
    nan = np.full(32, np.nan, np.float32)
    wrong = {
        "layer7.up": good,
        "layer0.up": ActivationRange(good.low[:5], good.high[:5]),
        "layer0.o": ActivationRange(nan, nan),
        "layer1.up": ActivationRange(good.high, good.low),
    }
    for place, span in wrong.items():
        with pytest.raises(InputError, match=f"ranges for int8 do not fit '{place}'"):
            TextEngine.open(folder, precision="int8", ranges={place: span})


def test_running_loads_neither_torch_nor_transformers(tmp_path: Path) -> None:
    folder = make_text_folder(tmp_path / "model")
    program = f"""
import sys
from deepseek.engines.text import TextEngine, TextModel
model = TextModel.open({str(folder)!r})
arrays = model.join(model.prepare(["the cat"]))
assert "openvino" not in sys.modules
TextEngine.open({str(folder)!r}).run(arrays)
print([name for name in ("torch", "transformers", "onnx", "pandas") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
