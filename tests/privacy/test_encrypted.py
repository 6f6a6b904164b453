"""Rows that the server never sees: answers as those of the plain model, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from deepseek.bundle import Bundle, open_bundle
from deepseek.cli import main
from deepseek.data import find_kinds, fit_preprocessor, read_table
from deepseek.engines import open_runtime
from deepseek.errors import CheckError, DeepseekError, InputError, TooLargeError
from deepseek.nn.dense import Linear, Perceptron
from deepseek.nn.model import Model, Part
from deepseek.privacy.encrypted.ckks import CipherContext, CkksParameters
from deepseek.privacy.encrypted.linear import LinearForm, largest_input
from deepseek.privacy.encrypted.service import EncryptedModel
from deepseek.privacy.encrypted.wire import CipherMessage, message_from_bytes, message_to_bytes
from deepseek.privacy.simulation.simulate import SimulationOptions, simulate
from support.federation import loans_study, loans_table, party_frame

NUM_ROWS = 2100  # of more than one ciphertext


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A linear model of loans, learned by three parties."""
    out = tmp_path_factory.mktemp("encrypted") / "bundle"
    study = loans_study("rounds.num_rounds=4", "rounds.lr=0.3")
    simulate(study, loans_table(num_rows=300), SimulationOptions(num_parties=3, out=out))
    return open_bundle(out)


@pytest.fixture(scope="module")
def model(bundle: Bundle) -> EncryptedModel:
    pytest.importorskip("tenseal", reason="needs the extra 'privacy'")
    return EncryptedModel(bundle)


@pytest.fixture(scope="module")
def key() -> CipherContext:
    pytest.importorskip("tenseal", reason="needs the extra 'privacy'")
    return CipherContext.generate(CkksParameters())


def test_a_linear_part_is_the_same_sum_of_scaled_inputs() -> None:
    table = loans_table()
    fitted = fit_preprocessor(table, find_kinds(table, target="default"), target="default")
    features = fitted.table(table.drop(["default"])).features
    preprocessor = fitted.with_support(features)
    rng = np.random.default_rng(0)
    coef = rng.normal(size=(features.shape[1], 3)) / np.abs(features).max(axis=0).clip(1)[:, None]
    weights = Linear(coef, rng.normal(size=3), features.mean(axis=0).astype(np.float64))
    model = Model("multiclass", ("a", "b", "c"), "log-odds", (Part("linear", weights, 0.5),), bias=(0.0,) * 3)
    form = LinearForm.of(model, preprocessor)
    assert np.allclose(form.plan.inputs(features) @ form.coef + form.bias, 0.5 * weights.margin(features))
    assert np.abs(form.plan.inputs(features)).max() <= max(1.0, np.abs(features).max(axis=0).min() + 10)


def test_categories_of_a_perceptron_become_inputs_of_their_own() -> None:
    rng = np.random.default_rng(0)
    weights = Perceptron(
        numeric=np.array([0, 2], np.int32), centre=np.ones(2, np.float32), scale=np.full(2, 2, np.float32),
        codes=np.array([1], np.int32), embeddings=[rng.normal(size=(4, 2)).astype(np.float32)],
        weights=[rng.normal(size=(4, 1)).astype(np.float32)], biases=[np.ones(1, np.float32)],
        skip=rng.normal(size=(4, 1)).astype(np.float32), baseline=np.zeros(4, np.float32), clip=3.0,
        logged=np.array([False, True]),
    )  # fmt: skip
    features = np.stack([rng.normal(size=50), rng.integers(0, 6, 50), rng.normal(size=50)], axis=1).astype(np.float32)
    model = Model("binary", ("no", "yes"), "log-odds", (Part("mlp", weights),))
    form = LinearForm.of(model, None)  # type: ignore[arg-type]
    assert form.coef.shape == (2 + 4, 1)
    assert np.allclose(form.plan.inputs(features) @ form.coef + form.bias, weights.margin(features), atol=1e-5)


@pytest.mark.parametrize("parts", [2, 1])
def test_models_that_are_no_weighted_sum_are_refused(parts: int) -> None:
    deep = Perceptron(
        numeric=np.array([0], np.int32), centre=np.zeros(1, np.float32), scale=np.ones(1, np.float32),
        codes=np.zeros(0, np.int32), embeddings=[], weights=[np.ones((1, 2), np.float32), np.ones((2, 1), np.float32)],
        biases=[np.zeros(2, np.float32), np.zeros(1, np.float32)], skip=np.zeros((1, 1), np.float32),
        baseline=np.zeros(1, np.float32),
    )  # fmt: skip
    model = Model("binary", ("no", "yes"), "log-odds", (Part("mlp", deep),) * parts)
    with pytest.raises(InputError, match="mlp, which cannot answer encrypted rows"):
        LinearForm.of(model, None)  # type: ignore[arg-type]


def test_margins_that_ckks_cannot_carry_are_refused() -> None:
    assert largest_input(np.ones((10, 1)), np.zeros(1)) == 32.0  # 500 / 10, down to a power of two
    with pytest.raises(InputError, match="too large to be encrypted"):
        largest_input(np.full((10, 1), 100.0), np.zeros(1))


@pytest.mark.parametrize(
    ("parameters", "word"),
    [
        (CkksParameters(4096, (40, 40, 40), 29), "below 128 bits"),
        (CkksParameters(5000, (40, 29, 40), 29), "below 128 bits"),
        (CkksParameters(8192, (60, 60), 40), "no product"),
        (CkksParameters(8192, (60, 30, 60), 40), "no product"),
    ],
)
def test_parameters_below_128_bits_are_refused(parameters: CkksParameters, word: str) -> None:
    with pytest.raises(InputError, match=word):
        CipherContext.generate(parameters)


def test_a_key_survives_the_disk_and_reads_what_it_encrypted(key: CipherContext, tmp_path: Path) -> None:
    path = tmp_path / "key"
    key.write(path)
    assert path.stat().st_mode & 0o777 == 0o600
    again, numbers = CipherContext.read(path), np.linspace(-1, 1, 100)
    assert again.key_id == key.key_id
    assert np.abs(again.decrypt(key.encrypt(numbers), 100) - numbers).max() < 1e-2
    with pytest.raises(FileExistsError):
        key.write(path)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(InputError, match="no secret key of CKKS"):
        CipherContext.read(path)


def encrypt_rows(model: EncryptedModel, key: CipherContext, num_rows: int = 5) -> CipherMessage:
    inputs = np.random.default_rng(1).uniform(-1, 1, (num_rows, len(model.form.coef)))
    columns = tuple(key.encrypt(inputs[:, place]) for place in range(inputs.shape[1]))
    return CipherMessage(model.digest, key.key_id, num_rows, columns)


def test_the_server_computes_the_margin_without_a_key(model: EncryptedModel, key: CipherContext) -> None:
    inputs = np.random.default_rng(1).uniform(-1, 1, (5, len(model.form.coef)))
    answer = message_from_bytes(model.score(message_to_bytes(encrypt_rows(model, key))), most_rows=2048)
    expected = inputs @ model.form.coef + model.form.bias
    assert np.abs(key.decrypt(answer.columns[0], 5) - expected[:, 0]).max() < 0.02
    with pytest.raises(ValueError, match="secret_key"):
        model._context.decrypt(answer.columns[0], 5)


def test_messages_that_do_not_fit_are_refused_by_name(model: EncryptedModel, key: CipherContext) -> None:
    good = encrypt_rows(model, key)
    other = CipherContext.generate(CkksParameters(8192, (60, 40, 60), 40))
    short = good.columns[0][: len(good.columns[0]) // 2]
    misfits: list[tuple[CipherMessage, str]] = [
        (CipherMessage(good.model, good.key_id, 5, (short, *good.columns[1:])), "cut, damaged or of other parameters"),
        (CipherMessage(good.model, good.key_id, 5, (b"", *good.columns[1:])), "cut, damaged or of other parameters"),
        (CipherMessage(good.model, good.key_id, 6, good.columns), "cut, damaged or of other parameters"),
        (encrypt_rows(model, other), "other parameters"),
        (CipherMessage(good.model, good.key_id, 5, good.columns[1:]), "columns"),
        (CipherMessage("00" * 32, good.key_id, 5, good.columns), "were encrypted for the model 0000"),
    ]
    for message, word in misfits:
        with pytest.raises(CheckError, match=word):
            model.score(message_to_bytes(message))
    with pytest.raises(TooLargeError):
        model.score(message_to_bytes(CipherMessage(good.model, good.key_id, 5000, good.columns)))
    data = message_to_bytes(good)
    for junk in (data[: len(data) // 2], b"", b"junk" * 100):
        with pytest.raises(DeepseekError, match="cannot be read"):
            model.score(junk)
    model.score(data)  # unharmed


@pytest.fixture(scope="module")
def server_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that the server writes, beside its address."""
    return tmp_path_factory.mktemp("server") / "server.log"


@pytest.fixture(scope="module")
def url(bundle: Bundle, model: EncryptedModel, server_log: Path) -> Iterator[str]:
    """A server in a process of its own."""
    command = [sys.executable, "-m", "deepseek", "serve", str(bundle.path), "--encrypted", "--port", "0"]
    with server_log.open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()
            process.communicate()


@pytest.mark.slow
def test_predict_writes_the_answers_of_the_plain_model(
    url: str, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, key, out = tmp_path / "rows.csv", tmp_path / "clinic.ckks", tmp_path / "scores.jsonl"
    party_frame("new", NUM_ROWS).drop(columns=["default"]).to_csv(rows, index=False)
    assert main(["predict", "--encrypted", url, str(rows), "--key", str(key), "--out", str(out)]) == 0
    assert "a new secret key" in capsys.readouterr().err
    answers = [json.loads(line) for line in out.read_text().splitlines()]
    plain = open_runtime(bundle.path).predict(read_table(rows))
    assert plain.probabilities is not None
    assert plain.labels is not None
    positive = np.array([answer["probability_yes"] for answer in answers])
    assert np.abs(positive - plain.probabilities[:, 1]).max() < 0.005
    same = np.array([answer["prediction"] for answer in answers]) == plain.labels
    assert same[np.abs(plain.probabilities[:, 1] - 0.5) > 0.005].all()
    party_frame("new", 20).drop(columns=["default"]).to_csv(rows, index=False)
    assert main(["predict", "--encrypted", url, str(rows), "--key", str(key), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["num_rows"] == len(report["predictions"]) == 20


@pytest.mark.slow
def test_misfits_are_answered_by_name_and_nothing_of_them_is_in_the_log(
    url: str, model: EncryptedModel, key: CipherContext, server_log: Path
) -> None:
    httpx = pytest.importorskip("httpx")
    data = message_to_bytes(encrypt_rows(model, key))
    said = {}
    for name, body in (("half", data[: len(data) // 2]), ("junk", b"age 42, debt 1234"), ("whole", data)):
        response = httpx.post(f"{url}/v1/encrypted/scores", content=body, timeout=60, trust_env=False)
        said[name] = response.status_code, "" if response.is_success else response.json()["error"]["code"]
    assert said == {"half": (409, "integrity"), "junk": (409, "integrity"), "whole": (200, "")}
    assert server_log.read_text() == ""


@pytest.mark.slow
def test_what_predict_refuses(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, key = tmp_path / "rows.csv", tmp_path / "clinic.ckks"
    party_frame("new", 20).drop(columns=["debt", "default"]).to_csv(rows, index=False)
    for words, word in [
        ((url, str(rows)), "--key"),
        ((url, str(rows), "--key", str(key)), "debt"),
        (("http://127.0.0.1:9", str(rows), "--key", str(key)), "does not answer"),
        ((url, str(rows), "--key", str(rows)), "no secret key"),
    ]:
        assert main(["predict", "--encrypted", *words]) == 2
        assert word in capsys.readouterr().err
