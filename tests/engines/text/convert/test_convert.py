"""convert(): encoders that are not built here, held to transformers, and served from one graph."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from deepseek.engines.text import TextEngine, TextModel, Tolerance, choose_precision, describe
from deepseek.engines.text.convert.convert import convert
from deepseek.engines.text.convert.parity import comparison_batches
from deepseek.engines.text.source.converted_folder import write_note
from deepseek.engines.text.source.tokens import TextTokenizer
from deepseek.errors import CheckError, DeepseekError, InputError, IntegrityError, MissingError, TooLargeError
from support.nets.convertible import AUTO, make_convertible
from support.nets.textfolders import POSITIONS, change_json, make_text_folder, sentence_transformer, write_json

TEXTS = ["the cat sat on a mat", "", "berlin is big", "not very bad " * 40, "猫"]
CASES = [
    ("electra", "embedding"),
    ("deberta-v2", "sequence-classification"),
    ("modernbert", "token-classification"),
    ("mpnet", "embedding"),
    ("albert", "sequence-classification"),
]


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("converted")
    make_convertible(base / "electra", "electra")
    sentence_transformer(base / "electra", {"pooling_mode_cls_token": True}, normalize=True, max_seq_length=20)
    convert(base / "electra", base / "served")
    return base / "served"


@pytest.fixture
def copy(converted: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    subprocess.run(["cp", "-r", converted, folder], check=True)
    return folder


def expected(folder: Path, task: str, ids: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What transformers gives for one text: the mean of its tokens, or logits."""
    model = AUTO[task].from_pretrained(folder).eval()
    with torch.no_grad():
        output = model(input_ids=torch.from_numpy(ids)[None])[0][0].numpy()
    return np.asarray(output.mean(axis=0) if task == "embedding" else output)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "task"), CASES)
def test_what_was_converted_answers_as_transformers_do(tmp_path: Path, kind: str, task: str) -> None:
    source = make_convertible(tmp_path / "source", kind, task)
    with pytest.raises(InputError, match="not run here"):
        describe(source)
    done = convert(source, tmp_path / "out")
    assert done.max_tokens == done.parity.longest_tokens == POSITIONS
    assert done.parity.difference < 1e-4
    assert (describe(tmp_path / "out").kind, describe(tmp_path / "out").task) == ("text", task)
    model, engine = TextModel.open(tmp_path / "out"), TextEngine.open(tmp_path / "out")
    tokens = model.prepare(TEXTS)
    assert [row.truncated for row in tokens] == [False, False, False, True, False]
    outputs = engine.run(model.join(tokens))  # all in one padded batch
    (values,) = outputs.values()
    for number, row in enumerate(tokens):
        answer = values[number, : len(row)] if task == "token-classification" else values[number]
        np.testing.assert_allclose(answer, expected(source, task, row.ids), atol=1e-4)
    assert len(model.answers(outputs, tokens)) == len(TEXTS)
    engine.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source"]


def test_a_variant_of_bert_that_is_not_built_here_is_converted(tmp_path: Path) -> None:
    source = make_convertible(tmp_path / "source", "bert", hidden_act="silu")
    with pytest.raises(InputError, match="silu") as raised:
        TextModel.open(source)
    assert "deepseek convert" in raised.value.fix
    assert convert(source, tmp_path / "out").parity.difference < 1e-4


@pytest.mark.slow
def test_a_distance_whose_logarithm_is_a_whole_number_falls_into_the_bucket_of_torch(tmp_path: Path) -> None:
    changes = {"max_position_embeddings": 512, "hidden_size": 64, "initializer_range": 0.1}
    source = make_convertible(tmp_path / "source", "deberta-v2", "sequence-classification", **changes)
    convert(source, tmp_path / "out")
    ids = np.random.default_rng(0).integers(5, 60, (1, 512))
    logits = TextEngine.open(tmp_path / "out").run({"input_ids": ids, "attention_mask": np.ones_like(ids)})["logits"]
    exact = expected(source, "sequence-classification", ids[0])
    np.testing.assert_allclose(logits[0], exact, atol=1e-5 * np.abs(exact).max())


def test_a_tokenizer_without_special_tokens_is_converted_although_an_empty_text_has_no_token(tmp_path: Path) -> None:
    source = make_convertible(tmp_path / "source", "electra")
    tokenizer = json.loads((source / "tokenizer.json").read_text())
    (source / "tokenizer.json").write_text(json.dumps(tokenizer | {"post_processor": None}))
    assert convert(source, tmp_path / "out", max_tokens=16).parity.difference < 1e-4


def test_a_tokenizer_in_older_files_is_written_as_tokenizer_json(tmp_path: Path) -> None:
    source = make_convertible(tmp_path / "source", "electra")
    with_json = TextTokenizer(source, vocab_size=1_000, max_tokens=POSITIONS).encode(TEXTS)
    vocab = json.loads((source / "tokenizer.json").read_text())["model"]["vocab"]
    (source / "vocab.txt").write_text("\n".join(sorted(vocab, key=vocab.get)) + "\n", "utf-8")
    (source / "tokenizer.json").unlink()
    convert(source, tmp_path / "out", max_tokens=16)
    tokens = TextTokenizer(tmp_path / "out", vocab_size=1_000, max_tokens=POSITIONS).encode(TEXTS)
    assert [row.ids.tolist() for row in tokens] == [row.ids.tolist() for row in with_json]


def test_pooling_limits_and_prompts_are_those_of_the_source(converted: Path) -> None:
    model, engine = TextModel.open(converted), TextEngine.open(converted)
    assert model.max_tokens == 20
    tokens = model.prepare(TEXTS)
    embeddings = engine.run(model.join(tokens))["embedding"]
    source = AUTO["embedding"].from_pretrained(converted.parent / "electra").eval()
    with torch.no_grad():
        first = source(input_ids=torch.from_numpy(tokens[3].ids)[None])[0][0, 0].numpy()
    np.testing.assert_allclose(embeddings[3], first / np.linalg.norm(first), atol=1e-5)


def test_neither_torch_nor_transformers_is_imported_to_serve_it(converted: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
        "from deepseek.engines.text import TextEngine, TextModel\n"
        "model, engine = TextModel.open(sys.argv[1]), TextEngine.open(sys.argv[1])\n"
        "print(engine.run(model.join(model.prepare(['the cat'])))['embedding'].shape)"
    )
    done = subprocess.run([sys.executable, "-c", code, converted], capture_output=True, text=True, check=False)
    assert done.stdout == "(1, 32)\n", done.stderr


def test_a_gate_lets_it_run_in_bfloat16_and_never_in_int8(converted: Path) -> None:
    choice = choose_precision(converted, ["the cat sat", "berlin is big"], Tolerance(), budget_s=0.01)
    assert {row.precision for row in choice.table} <= {"f32", "bf16"}
    with pytest.raises(InputError, match="no int8"):
        TextEngine.open(converted, precision="int8")


@pytest.mark.parametrize("name", ["model.onnx", "config.json", "tokenizer.json", "converted.json", "modules.json"])
def test_a_changed_byte_is_refused_by_the_name_of_its_file(copy: Path, name: str) -> None:
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(IntegrityError, match=name):
        TextModel.open(copy)


def test_a_file_that_is_missing_or_was_added_is_refused_by_name(copy: Path) -> None:
    write_json(copy, "tokenizer_config.json", {"model_max_length": 4})
    with pytest.raises(IntegrityError, match=r"tokenizer_config.json"):
        TextModel.open(copy)
    (copy / "tokenizer_config.json").unlink()
    (copy / "model.onnx").unlink()
    with pytest.raises(MissingError, match=r"model.onnx"):
        TextModel.open(copy)


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden": -1},
        {"task": "generation"},
        {"files": {"../x": "0" * 64}},
        {"vocab_size": True},
        {"format": 2},
        {"max_tokens": 0},
    ],
)
def test_a_note_with_other_contents_and_a_right_digest_is_refused(copy: Path, changes: dict[str, Any]) -> None:
    from deepseek.engines.text.source.converted_folder import note_digest

    note = json.loads((copy / "converted.json").read_text()) | changes
    write_json(copy, "converted.json", note | {"digest": note_digest(note)})
    with pytest.raises(DeepseekError):
        TextModel.open(copy)


def test_a_graph_that_refers_to_other_files_or_is_another_is_refused(copy: Path) -> None:
    note = json.loads((copy / "converted.json").read_text())
    graph = onnx.load(copy / "model.onnx")
    graph.graph.output[0].name = "other"
    for node in graph.graph.node:
        node.output[:] = ["other" if name == "output" else name for name in node.output]
    onnx.save(graph, copy / "model.onnx")
    write_note(copy, note)
    with pytest.raises(IntegrityError, match=r"model.onnx"):
        TextEngine.open(copy)
    tensor = graph.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="config.json")
    (copy / "model.onnx").write_bytes(graph.SerializeToString())
    write_note(copy, note)
    with pytest.raises(IntegrityError, match=r"refers to weights in 'config.json'"):
        TextModel.open(copy)


def test_texts_are_cut_where_the_user_says(tmp_path: Path) -> None:
    source = make_convertible(tmp_path / "source", "electra")
    done = convert(source, tmp_path / "out", max_tokens=16)
    assert (done.max_tokens, TextModel.open(tmp_path / "out").max_tokens) == (16, 16)
    assert "40" in done.warnings[0]
    with pytest.raises(InputError, match="max_tokens is 41"):
        convert(source, tmp_path / "more", max_tokens=41)


def test_another_folder_is_never_replaced(tmp_path: Path) -> None:
    source = make_convertible(tmp_path / "source", "electra")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").touch()
    for out in (tmp_path / "mine", source, tmp_path, tmp_path / "no" / "parent"):
        with pytest.raises(InputError):
            convert(source, out, overwrite=True)
    convert(source, tmp_path / "out", max_tokens=16)
    with pytest.raises(InputError, match="there already"):
        convert(source, tmp_path / "out")
    convert(source, tmp_path / "out", max_tokens=20, overwrite=True)
    assert TextModel.open(tmp_path / "out").max_tokens == 20
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "out", "source"]


def test_an_architecture_that_padding_changes_is_not_kept(tmp_path: Path) -> None:
    source = make_convertible(tmp_path / "source", "nystromformer")
    with pytest.raises(CheckError, match="differ from those of transformers"):
        convert(source, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_what_torch_cannot_record_is_refused_with_nothing_on_stdout(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = make_convertible(tmp_path / "source", "fnet")
    with pytest.raises(InputError, match="fft"):
        convert(source, tmp_path / "out")
    assert capfd.readouterr().out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_what_is_served_in_another_way_is_told_so(tmp_path: Path, converted: Path) -> None:
    bert = make_text_folder(tmp_path / "bert")
    causal = make_convertible(tmp_path / "causal", "electra")
    change_json(causal, "config.json", architectures=["BloomForCausalLM"], model_type="bloom")
    for folder, words in ((bert, "served as it is"), (converted, "converted already"), (causal, "writes text")):
        with pytest.raises(InputError, match=words) as raised:
            convert(folder, tmp_path / "out")
        assert "deepseek serve" in raised.value.fix
    assert "llm-torch" in raised.value.fix


def _without_tensor(folder: Path) -> None:
    import safetensors.numpy

    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    tensors.pop("encoder.layer.1.output.dense.bias")
    safetensors.numpy.save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")


def _with_code(folder: Path) -> None:
    change_json(folder, "config.json", model_type="mine", auto_map={"AutoModel": "mine.Model", "AutoConfig": "mine.C"})
    (folder / "mine.py").write_text("from pathlib import Path\nPath(__file__).with_name('ran').touch()\n")


BAD: list[tuple[Any, type[DeepseekError], str]] = [
    (_without_tensor, InputError, r"encoder.layer.1.output.dense.bias"),
    (_pickled, MissingError, r"pytorch_model.bin is a pickle"),
    (_with_code, InputError, "does not know the model_type 'mine'"),
    (lambda f: write_json(f, "adapter_config.json", {"base_model_name_or_path": "/"}), InputError, "adapter_config"),
    (lambda f: (f / "config.json").write_text("[]"), IntegrityError, "config.json"),
    (lambda f: (f / "tokenizer.json").write_text("{}"), IntegrityError, "tokenizer.json"),
    (lambda f: (f / "model.safetensors").write_bytes(b"\xff" * 100), IntegrityError, "model.safetensors"),
    *(
        (lambda f, changes=changes: change_json(f, "config.json", **changes), kind, words)
        for changes, kind, words in (
            ({"quantization_config": {"quant_method": "bitsandbytes"}}, InputError, "quantization_config"),
            ({"position_embedding_type": "relative_key"}, InputError, "position_embedding_type"),
            ({"transformers_weights": "../x.bin"}, InputError, "transformers_weights"),
            ({"is_encoder_decoder": True}, InputError, "no encoder"),
            ({"architectures": ["ElectraForQuestionAnswering"]}, InputError, "no encoder"),
            ({"hidden_size": 2**20, "intermediate_size": 2**20}, TooLargeError, "GB"),
            ({"hidden_size": "many"}, InputError, "cannot be converted"),
            ({"hidden_size": 64, "embedding_size": 64}, InputError, "cannot be converted"),
            ({"num_hidden_layers": 10**9}, IntegrityError, "num_hidden_layers"),
            ({"vocab_size": 10}, InputError, "cannot be converted"),
            ({"num_attention_heads": 0}, InputError, "cannot be converted"),
        )
    ),
]


@pytest.mark.parametrize(("harm", "kind", "words"), BAD)
def test_a_folder_that_is_not_whole_or_not_safe_is_refused_and_leaves_nothing(
    tmp_path: Path, harm: Any, kind: type[DeepseekError], words: str
) -> None:
    source = make_convertible(tmp_path / "source", "electra")
    harm(source)
    with pytest.raises(kind, match=words):
        convert(source, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
    assert not (source / "ran").exists()


def test_every_row_is_compared_and_the_longest_beside_the_shortest() -> None:
    for num_rows in (1, 4, 33):
        batches = comparison_batches(num_rows)
        assert {row for batch in batches for row in batch} == set(range(num_rows))
        assert [0, num_rows - 1] in batches
