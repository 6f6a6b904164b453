"""Linear models of frozen text encoders: the module answers as the fit did, and nothing is read twice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from deepseek.automl.pretrained_encoders import load_text_encoder
from deepseek.data.samples.preparer import SamplePreparer, fit_samples
from deepseek.data.table.table import Table
from deepseek.nn.fusion import MultimodalNet
from deepseek.nn.multimodal import NetShape, as_tensors, multimodal_net
from deepseek.nn.pretrained import PretrainedEncoders, cache_outputs, read_by_length
from deepseek.train.multimodal.choice import FUSED, TITLES, WORDS_TITLE, HeldOutComparison, best_of
from deepseek.train.multimodal.fusion import MultimodalConfig, fit_multimodal
from deepseek.train.multimodal.linear_text import (
    SETTINGS,
    EmbeddedRows,
    LinearTextTrial,
    fit_linear_texts,
    frozen_text_encoders,
)
from support.nets.textfolders import make_text_folder

NUM = 60
FIT, HELD = np.arange(40), np.arange(40, NUM)
WORDS = ("happy cat", "bad film", "sad mat berlin")


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> tuple[SamplePreparer, Any, np.ndarray[Any, Any], Any]:
    """Texts of three classes, some of them missing, and a number; by a BERT of random weights."""
    folder = make_text_folder(tmp_path_factory.mktemp("text") / "bert")
    draw = np.random.default_rng(0)
    labels = np.arange(NUM) % 3
    notes = [f"{WORDS[label]} is is on {'a cat and'[: int(draw.integers(1, 9))]}" for label in labels]
    records: list[dict[str, Any]] = [{"note": note, "age": float(draw.normal(50, 9))} for note in notes]
    records[5]["note"] = records[45]["note"] = None
    table = Table(
        {"note": np.array([r["note"] for r in records], object), "age": np.array([r["age"] for r in records]),
         "ill": labels.astype(float)}, {"note": "text", "age": "number", "ill": "number"},
    )  # fmt: skip
    shape, weights, reader = load_text_encoder(folder, notes)
    kinds = {"note": "text", "age": "numeric"}
    preparer = fit_samples(table, kinds, target="ill", root=None, readers={"note": reader})
    return preparer, preparer.rows(records).arrays, labels, PretrainedEncoders({"note": shape}, {"note": weights})


def fit_trials(
    net: MultimodalNet, arrays: Any, target: np.ndarray[Any, Any], num_outputs: int
) -> tuple[dict[str, Any], list[LinearTextTrial]]:
    encoders = frozen_text_encoders(net)
    assert encoders is not None
    rows = EmbeddedRows(arrays, FIT, HELD, encoders)
    return encoders, fit_linear_texts(rows, target, num_outputs=num_outputs, allows=lambda _: True)


@pytest.mark.parametrize("num_outputs", [3, 2, 1])
def test_the_module_answers_as_the_fit_did(texts: Any, num_outputs: int) -> None:
    preparer, arrays, labels, towers = texts
    target = labels if num_outputs == 3 else labels % 2 if num_outputs == 2 else labels - 1.0
    net = multimodal_net(preparer, NetShape(num_outputs, towers=towers.shapes), towers.weights).eval()
    encoders, trials = fit_trials(net, arrays, target, num_outputs)
    assert [(trial.family, trial.strength) for trial in trials] == list(SETTINGS)
    for trial in trials:
        module = trial.build(encoders)
        with torch.inference_mode():
            output = module(*as_tensors({name: np.asarray(array[HELD]) for name, array in arrays.items()}))
        np.testing.assert_allclose(output.logits.numpy(), trial.margin, rtol=0, atol=2e-4)
        np.testing.assert_allclose(
            output.logits.numpy(), (output.unimodal_logits.sum(1) + module.bias).numpy(), rtol=0, atol=1e-5
        )
        assert not output.unimodal_logits[5, module.names.index("note")].any()  # that text is missing
        np.testing.assert_allclose(output.attention.sum((1, 2)).numpy(), 1, rtol=0, atol=1e-5)
    np.testing.assert_allclose(trials[0].predict(arrays, HELD), trials[0].margin, rtol=0, atol=1e-9)


def test_what_the_net_has_read_costs_no_second_pass(texts: Any) -> None:
    preparer, arrays, labels, towers = texts
    trials: list[LinearTextTrial] = []
    calls: list[int] = []

    def add_trials(net: MultimodalNet) -> None:
        net.encoder("note").tower.register_forward_hook(lambda *hook_arguments: calls.append(len(hook_arguments[2])))
        trials.extend(fit_trials(net, arrays, labels, 3)[1])

    fit_multimodal(
        preparer, arrays, labels, num_outputs=3, rows=FIT, held=HELD, towers=towers,
        config=MultimodalConfig(epochs=1, batch_size=20), trained=add_trials,
    )  # fmt: skip
    assert len(trials) == len(SETTINGS)
    assert not calls


def test_texts_read_by_their_length_have_the_same_tokens(texts: Any) -> None:
    preparer, arrays, _, towers = texts
    net = multimodal_net(preparer, NetShape(3, towers=towers.shapes), towers.weights).eval()
    tower: Any = net.encoder("note").tower
    ids = torch.from_numpy(np.asarray(arrays["note"]))
    widths: list[int] = []
    tower.register_forward_hook(lambda *hook_arguments: widths.append(hook_arguments[2].shape[1]))
    with torch.inference_mode():
        mask, whole, by_length = tower.mask(ids), tower(ids), read_by_length(tower, ids)
    torch.testing.assert_close(by_length[mask], whole[mask], rtol=0, atol=1e-5)
    assert min(widths[1:]) < widths[0] == max(widths[1:])


def test_a_cache_ends_with_its_block(texts: Any) -> None:
    preparer, arrays, _, towers = texts
    net = multimodal_net(preparer, NetShape(3, towers=towers.shapes), towers.weights).eval()
    encoder: Any = net.encoder("note")
    with cache_outputs(net):
        encoder(torch.from_numpy(arrays["note"][:4]))
        assert encoder.cached_embeddings
    assert not encoder.cached_embeddings


def test_nets_that_read_more_than_texts_have_no_linear_model(texts: Any) -> None:
    preparer, _, _, towers = texts
    own = multimodal_net(preparer, NetShape(3))
    assert frozen_text_encoders(own) is None  # its encoder of texts is trained with the net
    assert list(frozen_text_encoders(multimodal_net(preparer, NetShape(3, towers=towers.shapes))) or {}) == ["note"]


def test_the_least_loss_on_held_out_rows_is_chosen_and_words_alone_never(texts: Any) -> None:
    preparer, arrays, labels, towers = texts
    net = multimodal_net(preparer, NetShape(3, towers=towers.shapes), towers.weights).eval()
    _, trials = fit_trials(net, arrays, labels, 3)
    comparison = HeldOutComparison("multiclass", labels[HELD], "log_loss", (1.0, 0.0), 0)
    calibrated = [comparison.of(TITLES[trial.family], trial.margin, trial) for trial in trials]
    fused = comparison.of(FUSED, np.zeros((len(HELD), 3)))
    chosen = best_of([fused, *calibrated])
    assert chosen.name not in (FUSED, WORDS_TITLE)
    assert chosen.loss == min(each.loss for each in calibrated if each.name != WORDS_TITLE) < fused.loss
    perfect = comparison.of(FUSED, 50.0 * np.eye(3)[labels[HELD]])
    assert best_of([perfect, *calibrated]).build(net) is net
