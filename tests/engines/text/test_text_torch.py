"""Text models in torch: the answers of the graph that is built here, and one more candidate behind the gate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepseek.contracts import Arrays
from deepseek.engines.text import TextEngine, TextModel, Tolerance, choose_precision
from deepseek.engines.text.source.library import TransformersLibrary
from deepseek.engines.text.tuning import tune
from deepseek.errors import DeepseekError, ExtraError, InputError, IntegrityError, MissingError
from support.nets.textfolders import make_text_folder

TEXTS = ["the cat sat on a mat", "i am happy", "a very bad film, not good at all !", "berlin"] * 4
ANYTHING = Tolerance(min_cosine=-1, max_difference=1, min_agreement=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_text_folder(tmp_path_factory.mktemp("torch") / "model", "bert", "embedding")


def batch_of(folder: Path, texts: list[str] = TEXTS) -> Arrays:
    model = TextModel.open(folder)
    return model.join(model.prepare(texts))


def seen(outputs: Arrays, batch: Arrays) -> np.ndarray[Any, Any]:
    """What has a meaning: of tokens only those that are there."""
    (output,) = outputs.values()
    return output[batch["attention_mask"] != 0] if output.ndim == 3 else output


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta"])
@pytest.mark.parametrize("task", ["embedding", "sequence-classification", "token-classification"])
def test_torch_gives_the_answers_of_the_graph(family: str, task: str, tmp_path: Path) -> None:
    folder = make_text_folder(tmp_path / "model", family, task)
    batch = batch_of(folder)
    expected = seen(TextEngine.open(folder).run(batch), batch)
    for kind, least, most in (("torch", 0.0, 1e-4), ("torch-bf16", 1e-6, 0.2)):
        engine = TextEngine.open(folder, precision=kind)  # type: ignore[arg-type]
        output = seen(engine.run(batch), batch)
        assert least <= np.abs(output - expected).max() <= most
        engine.close()
        with pytest.raises(RuntimeError, match="closed"):
            engine.run(batch)


@pytest.mark.slow
def test_the_compiled_torch_gives_the_same_at_every_size_with_one_program(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, exact = TextEngine.open(folder, precision="torch-compile"), TextEngine.open(folder)
    import torch

    strict = torch.compiler.set_stance
    monkeypatch.setattr(torch.compiler, "set_stance", lambda _: strict("fail_on_recompile"))
    for texts in (TEXTS, TEXTS[:1], TEXTS[1:3], ["a " * 30, "a"], ["cat"] * 33):
        batch = batch_of(folder, texts)
        np.testing.assert_allclose(engine.run(batch)["embedding"], exact.run(batch)["embedding"], atol=1e-5)


@pytest.mark.slow
def test_torch_is_measured_behind_the_gate_and_compiling_only_where_it_has_a_chance(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tune, "COMPILE_FACTOR", 0.0)  # so that it does not hang on this machine's load
    choice = choose_precision(folder, TEXTS, ANYTHING, budget_s=0)
    rows = {row.precision: row for row in choice.table}
    assert rows["torch"].passes
    assert rows["torch"].differences.difference <= 1e-4
    assert "torch-bf16" in rows
    left_out = {row["precision"]: row for row in json.loads(json.dumps(choice.to_dict()))["table"] if "says" in row}
    assert "not tried: torch takes" in left_out["torch-compile"]["says"]
    assert not left_out["torch-compile"]["passes"]
    opened: list[str] = []

    def refuse(self: Any, key: Any, ranges: Any) -> None:
        opened.append(key[0])
        if key[0] == "torch-compile":
            self.left_out[key[0]] = "torch cannot compile here: no g++"
        else:
            real(self, key, ranges)

    real = tune._PrecisionBench.open
    monkeypatch.setattr(tune, "COMPILE_FACTOR", 1e9)
    monkeypatch.setattr(tune._PrecisionBench, "open", refuse)
    assert choose_precision(folder, TEXTS, ANYTHING, budget_s=0).left_out == {
        "torch-compile": "torch cannot compile here: no g++"
    }
    assert opened[-1] == "torch-compile"


@pytest.mark.slow
def test_what_wins_and_is_not_exact_enough_does_not_pass(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune, "EXACT_DIFFERENCE", 0.0)
    rows = {row.precision: row for row in choose_precision(folder, TEXTS, ANYTHING, budget_s=0).table}
    assert not rows["torch"].passes
    assert rows["torch-bf16"].passes


@pytest.mark.slow
def test_a_tight_gate_lets_no_torch_pass(folder: Path) -> None:
    choice = choose_precision(folder, TEXTS, Tolerance(1, 0, 1), budget_s=0)
    assert [row.precision for row in choice.table if row.passes] == ["f32"]


def test_without_torch_there_is_no_candidate_and_opening_names_the_extra(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deepseek.engines.text.serve import torch_engine

    def need(module: str, *, extra: str) -> Any:
        raise ExtraError(f"{module} is not installed", expected=f"the extra {extra!r}", fix="install it")

    monkeypatch.setattr(tune, "is_installed", lambda module: module != "torch")
    choice = choose_precision(folder, TEXTS, ANYTHING, budget_s=0)
    assert not [row for row in choice.table if row.precision.startswith("torch")]
    monkeypatch.setattr(torch_engine, "need", need)
    with pytest.raises(ExtraError, match="torch is not installed"):
        TextEngine.open(folder, precision="torch")


def test_code_of_a_folder_is_not_run_and_no_pickle_is_read(tmp_path: Path) -> None:
    folder, written = make_text_folder(tmp_path / "model", "bert", "embedding"), tmp_path / "told"
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "evil.Evil", "AutoConfig": "evil.Config"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(f"open({str(written)!r}, 'w')")
    TextEngine.open(folder, precision="torch").close()
    assert not written.exists()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(MissingError, match="pickle"):
        TextEngine.open(folder, precision="torch")


@pytest.mark.parametrize("harm", ["cut", "adapter", "quantized", "layer"])
def test_a_harmed_folder_is_refused_in_words(harm: str, tmp_path: Path) -> None:
    folder = make_text_folder(tmp_path / "model", "bert", "embedding")
    config = json.loads((folder / "config.json").read_text())
    if harm == "cut":
        data = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    if harm == "adapter":
        (folder / "adapter_config.json").write_text("{}")
    if harm == "quantized":
        config["quantization_config"] = {"quant_method": "gptq"}
    if harm == "layer":
        config["num_hidden_layers"] = 3
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises((IntegrityError, InputError)):
        TextEngine.open(folder, precision="torch")


def test_what_transformers_raises_is_told_in_words(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: Any, **__: Any) -> Any:
        raise KeyError("something of its own")

    monkeypatch.setattr(TransformersLibrary, "load", load)
    with pytest.raises(DeepseekError, match="cannot be run by transformers"):
        TextEngine.open(folder, precision="torch")


@pytest.mark.slow
def test_a_model_of_nan_passes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch reads the weights by itself: what is poisoned there shows in the answers."""
    from deepseek.engines.text.serve.torch_engine import TorchBackend

    folder = make_text_folder(tmp_path / "model", "bert", "embedding")
    real = TorchBackend._infer

    def infer(self: Any, ids: Any, mask: Any) -> Any:
        return real(self, ids, mask) * np.nan

    monkeypatch.setattr(TorchBackend, "_infer", infer)
    choice = choose_precision(folder, TEXTS, ANYTHING, budget_s=0)
    assert not any(row.passes for row in choice.table if row.precision.startswith("torch"))
