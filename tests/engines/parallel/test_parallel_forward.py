"""Tensor and pipeline parallel inference in 2 and 4 gloo processes, against transformers in one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")

SCRIPT = Path(__file__).parents[2] / "support/nets/split_models.py"


def started(folder: Path, *more: str) -> dict[str, Any]:
    """All of it in one process, for importing transformers takes longer than every run."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder), *more], capture_output=True, text=True, timeout=240, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    read: dict[str, Any] = json.loads((folder / "found.json").read_text())
    return read


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return started(tmp_path_factory.mktemp("split"))


@pytest.fixture(scope="module")
def found_slowly(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return started(tmp_path_factory.mktemp("split"), "--slow")


def check_answers(runs: list[dict[str, Any] | None]) -> None:
    for rank, results in enumerate(runs):
        assert results is not None, rank
        assert {name: each["apart"] for name, each in results.items() if not each["apart"] < 1e-5} == {}
        assert all(each["varies"] > 0.3 for each in results.values())  # the answers are large enough to differ


def check_words(runs: list[dict[str, Any] | None]) -> None:
    left = [each for each in runs if each is not None]
    assert len(left) == len(runs) - 1
    for each in left:
        assert "has lost another" in each["said"]
        assert each["took_s"] < 10


@pytest.mark.parametrize("split", ["tp2", "pp2", "tp2 pp2"])
def test_every_process_answers_what_one_would(found: dict[str, Any], split: str) -> None:
    check_answers(found[split])


@pytest.mark.slow
@pytest.mark.parametrize("split", ["tp2 pp2", "tp4", "pp4"])
def test_every_process_of_four_answers_what_one_would(found_slowly: dict[str, Any], split: str) -> None:
    check_answers(found_slowly[split])


def test_tensors_and_layers_are_shared_out(found: dict[str, Any]) -> None:
    whole = found["parameters"]
    for split, most in (("tp2", 0.62), ("pp2", 0.75), ("tp2 pp2", 0.33)):
        for name in found[split][0]:
            assert all(each[name]["held"] < most * whole[name] for each in found[split]), (split, name)
    assert [each["llama"]["stage"] for each in found["tp2 pp2"]] == [0, 0, 1, 1]


def test_no_process_holds_the_whole_model_at_any_time(found: dict[str, Any]) -> None:
    for each in found["peak"]:
        assert each["held"] < 0.26
        assert each["rise"] < 0.40


def test_a_process_that_dies_ends_the_others_with_a_word(found: dict[str, Any]) -> None:
    check_words(found["die pp"])


@pytest.mark.slow
def test_a_process_that_dies_ends_those_that_share_its_matrices(found_slowly: dict[str, Any]) -> None:
    check_words(found_slowly["die tp"])


def test_what_cannot_be_split_or_run_is_refused_with_the_reason(found: dict[str, Any]) -> None:
    want = {
        "mesh": "tp=3 pp=1 does not make up 2 processes", "plan": "there is no plan 'ep'",
        "plan and mesh": "the mesh has the dimensions", "shape": "Linear is of none of the shapes",
        "heads": "num_attention_heads is 1", "experts": "MixtralForCausalLM is of none of the shapes",
        "family": "GemmaForCausalLM is of none of the shapes", "window": "17 tokens in a row",
        "matrix": "of GPT2LMHeadModel cannot be split over processes",
        "other folder": "has the shape", "other family": "has no weight 'transformer.wte.weight'",
        "token": "a token is", "type": "of torch.float32", "length": "65 tokens in a row", "mask": "the mask is",
    }  # fmt: skip
    for words in found["refusals"]:
        assert {name: part in words[name] for name, part in want.items()} == dict.fromkeys(want, True), words
        assert all("To mend it" in text for text in words.values())
