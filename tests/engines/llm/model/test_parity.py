"""What int8 costs is measured on text, against transformers' own figure, and refused above the limit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from deepseek.engines.llm.model.convert import convert
from deepseek.engines.llm.model.folder import ModelFolder
from deepseek.engines.llm.model.options import EngineLimits
from deepseek.engines.llm.model.parity import Parity, cached_parity, check_parity, measure_parity
from deepseek.errors import CheckError, InputError
from support.nets.tinylm import random_model

IDS = np.random.default_rng(0).integers(0, 300, 100).tolist()


def test_int8_costs_little_and_the_exact_loss_is_that_of_transformers(tmp_path: Path) -> None:
    model = random_model("gpt2", tmp_path / "source")
    source = ModelFolder.read(tmp_path / "source")
    convert(source, tmp_path / "int8", precision="int8")
    parity = measure_parity(source, tmp_path / "int8", IDS)
    with torch.no_grad():
        ids = torch.tensor([IDS])
        assert parity.exact_loss == pytest.approx(float(model(ids, labels=ids).loss), abs=1e-4)
    assert parity.num_tokens == 99
    assert 0 < abs(parity.loss - parity.exact_loss) < 0.05
    assert 0.7 < parity.agreement <= 1


def test_the_same_weights_agree_everywhere(tmp_path: Path) -> None:
    random_model("llama", tmp_path / "source")
    source = ModelFolder.read(tmp_path / "source")
    convert(source, tmp_path / "fp32")
    parity = measure_parity(source, tmp_path / "fp32", IDS, EngineLimits(exact=True))
    assert parity.agreement == 1
    assert parity.loss == pytest.approx(parity.exact_loss, abs=1e-5)


def test_a_long_text_is_read_in_windows(tmp_path: Path) -> None:
    random_model("gpt2", tmp_path / "source")  # 128 positions
    source = ModelFolder.read(tmp_path / "source")
    convert(source, tmp_path / "fp32")
    parity = measure_parity(source, tmp_path / "fp32", IDS * 3, EngineLimits(exact=True))
    assert (parity.num_tokens, parity.agreement) == (299, 1)
    with pytest.raises(InputError, match="2 or more"):
        measure_parity(source, tmp_path / "fp32", [1])


def test_what_was_measured_is_kept_for_this_machine_and_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random_model("gpt2", tmp_path / "source")
    convert(ModelFolder.read(tmp_path / "source"), tmp_path / "int8", precision="int8")
    parity = cached_parity(tmp_path / "source", tmp_path / "int8", EngineLimits())
    assert parity is not None
    assert parity.num_tokens > 100
    assert parity.agreement < 1
    place = tmp_path / "int8" / "parity-auto.json"
    fields = json.loads(place.read_text())
    place.write_text(json.dumps(fields | {"loss": 1.0}))
    assert cached_parity(tmp_path / "source", tmp_path / "int8", EngineLimits()) == replace(parity, loss=1.0)
    place.write_text(json.dumps(fields | {"machine": "another"}))
    assert cached_parity(tmp_path / "source", tmp_path / "int8", EngineLimits()) == parity
    monkeypatch.setattr("deepseek.engines.llm.model.parity.MAX_SOURCE_BYTES", 1)
    assert cached_parity(tmp_path / "source", tmp_path / "int8", EngineLimits()) is None


def test_the_gate_refuses_what_costs_too_much() -> None:
    check_parity(Parity(3.0, 3.01, 0.97, 99), max_loss=0.02)
    with pytest.raises(CheckError, match=r"costs 0\.0300 nats"):
        check_parity(Parity(3.0, 3.03, 0.97, 99), max_loss=0.02)
    with pytest.raises(CheckError):
        check_parity(Parity(3.0, float("nan"), 0.97, 99), max_loss=0.02)
