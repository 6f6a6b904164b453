"""Fine-tuning: the weights go back into a folder that reads the same, and what was held was not seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("openvino")
pytest.importorskip("tokenizers")

from deepseek.automl.assistant.frozen_layers import frozen_states, open_tower, token_ids  # noqa: E402
from deepseek.automl.assistant.options import AssistantOptions  # noqa: E402
from deepseek.automl.assistant.tune import TuneOptions, tune_encoder, write_tuned  # noqa: E402
from deepseek.automl.pretrained_encoders import load_text_encoder, stored_weights  # noqa: E402
from deepseek.data.table.table import Table  # noqa: E402
from deepseek.engines.assistant import load_assistant  # noqa: E402
from deepseek.engines.text.serve.embedding import FolderEncoder  # noqa: E402
from deepseek.engines.text.source.weights import Weights  # noqa: E402
from deepseek.errors import InputError  # noqa: E402
from deepseek.nn.pretrained import PretrainedTextEncoder  # noqa: E402
from deepseek.recipes.assistant.run import run_assistant  # noqa: E402
from support.nets.textfolders import make_text_folder  # noqa: E402

TEXTS = ["the cat sat on a mat", "berlin is big and very happy"]
HAPPY, BAD = ["happy cat", "very happy cat", "a happy cat"], ["bad film", "very bad film", "a bad film"]


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta"])
def test_weights_come_back_as_they_lay_in_the_folder(family: str, tmp_path: Path) -> None:
    folder = make_text_folder(tmp_path / family, family)
    shape, weights, _ = load_text_encoder(folder, TEXTS)
    assert shape.text is not None
    tower = PretrainedTextEncoder(shape.text)
    tower.load_state_dict({name: torch.as_tensor(value) for name, value in weights.items()})
    stored = stored_weights(folder, {name: value.numpy() for name, value in tower.state_dict().items()})
    tensors = Weights.open(folder)
    for name, value in stored.items():
        np.testing.assert_allclose(value, tensors.array(name, value.shape), atol=1e-6)
    again = FolderEncoder(write_tuned(folder, tower, tmp_path / "again"))
    np.testing.assert_allclose(again.embed(TEXTS), FolderEncoder(folder).embed(TEXTS), atol=5e-3)  # float16


@pytest.mark.slow
def test_a_tuned_encoder_learns_the_intents_and_is_served_from_the_bundle(tmp_path: Path) -> None:
    folder = make_text_folder(tmp_path / "bert")
    questions, labels = HAPPY * 6 + BAD * 6, np.repeat([0, 1], 18)
    options = TuneOptions(num_encoders=2, epochs=12, lr=3e-3, batch_size=6, precision="fp32")
    (tmp_path / "scratch").mkdir()
    tuned = tune_encoder(folder, questions, labels, 2, options, tmp_path / "scratch")
    assert (tuned.held.argmax(axis=1) == labels).mean() > 0.9
    assert len(tuned.encoders) == len(tuned.folders) == len(tuned.heads) == 2


@pytest.mark.slow
def test_the_bundle_holds_every_encoder_and_answers_by_it(tmp_path: Path) -> None:
    folder = make_text_folder(tmp_path / "bert")
    columns = {"question": [*HAPPY, *BAD], "intent": ["happy"] * 3 + ["bad"] * 3}
    table = Table({name: np.array(values, object) for name, values in columns.items()}, dict.fromkeys(columns, "text"))
    result = run_assistant(AssistantOptions(tmp_path / "help", encoders=(folder,), tune=True), intents=table)
    assert [each.is_tuned for each in result.fitted.model.encoders] == [False, True, True, True]
    assistant = load_assistant(tmp_path / "help")
    assert [each.intents[0].name for each in assistant.understand(["happy cat", "bad film"])] == ["happy", "bad"]
    np.testing.assert_allclose(
        assistant.model.score(TEXTS, assistant._encoders).shares,
        result.fitted.model.score(TEXTS, result.fitted.encoders).shares,
        atol=2e-2,
    )  # the bundle keeps float16


def test_the_layers_below_are_those_of_the_served_encoder_whatever_its_padding(tmp_path: Path) -> None:
    folder = make_text_folder(tmp_path / "roberta", "roberta")  # pads with the id 1
    tower = open_tower(folder)
    states = frozen_states(tower, token_ids(folder, TEXTS), len(tower.layers))
    means = torch.stack([each.float().mean(0) for each in states])
    own = torch.nn.functional.normalize(means, dim=1).numpy()
    np.testing.assert_allclose(own, FolderEncoder(folder).embed(TEXTS), atol=5e-3)  # float16


def test_nothing_is_tuned_without_an_encoder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no encoder to tune"):
        AssistantOptions(tmp_path / "out", tune=True)


def test_an_encoder_reads_questions_behind_its_own_prompt(tmp_path: Path) -> None:
    """Learned and asked alike: the bundle scores what the fit scored."""
    folder = make_text_folder(tmp_path / "bert")
    (folder / "config_sentence_transformers.json").write_text('{"prompts": {"query": "happy "}}', "utf-8")
    columns = {"question": [*HAPPY, *BAD], "intent": ["happy"] * 3 + ["bad"] * 3}
    table = Table({name: np.array(values, object) for name, values in columns.items()}, dict.fromkeys(columns, "text"))
    result = run_assistant(AssistantOptions(tmp_path / "help", encoders=(folder,)), intents=table)
    (head,) = result.fitted.model.kernel_heads.values()
    prompted = FolderEncoder(folder).embed(["happy " + text for text in sorted(BAD) + sorted(HAPPY)])
    assert {tuple(row) for row in head.bank.round(4).tolist()} == {tuple(row) for row in prompted.round(4).tolist()}
    assistant = load_assistant(tmp_path / "help")
    shares = [assistant.model.score(TEXTS, assistant._encoders).shares]
    shares.append(result.fitted.model.score(TEXTS, result.fitted.encoders).shares)
    np.testing.assert_allclose(*shares, atol=2e-2)
