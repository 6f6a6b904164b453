"""The server benchmarks: every claim has one group, texts are the same each time, and figures are taken right."""

from __future__ import annotations

import importlib.util
import statistics
from pathlib import Path

import pytest
import serving_rivals
import serving_text
import serving_texts

BENCHMARKS = Path(serving_rivals.__file__).parent


@pytest.fixture(scope="module")
def claims() -> tuple[str, ...]:
    """Of benchmarks/serving.py, whose name a helper of the tests has, too."""
    spec = importlib.util.spec_from_file_location("serving_bench", BENCHMARKS / "serving.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return tuple(module.CLAIMS)


def test_every_claim_is_made_by_one_group(claims: tuple[str, ...]) -> None:
    assert len(set(claims)) == len(claims)
    assert {f"null_{name}{end}" for name in serving_rivals.RIVALS for end in ("", "_cpu")} <= set(claims)
    assert {f"text_{name}{end}_cpu" for name in serving_text.BARS for end in ("", "_int8")} <= set(claims)


def test_a_lossy_engine_has_claims_of_its_own_and_says_its_ranges() -> None:
    exact, lossy = serving_texts.EXACT, serving_texts.Computing("int8", Path("r.safetensors"), ("--lossy", "x"))
    assert (exact.end, exact.arguments, exact.words) == ("", ["f32"], ())
    assert (lossy.end, lossy.arguments) == ("_int8", ["int8", "r.safetensors"])


def test_every_rival_has_its_server_and_a_bar() -> None:
    assert set(serving_text.BARS) == set(serving_rivals.RIVALS)
    for rival in serving_rivals.RIVALS.values():
        script = next(word for word in rival.command if word.startswith("serving_")).partition(":")[0]
        assert (serving_rivals.SCRIPTS / f"{script.removesuffix('.py')}.py").is_file()


def test_texts_are_the_same_each_time_and_of_every_length() -> None:
    texts_of_run = serving_texts.texts()
    assert texts_of_run == serving_texts.texts()
    lengths = [len(text.split()) for text in texts_of_run]
    assert min(lengths) >= 2
    assert max(lengths) <= 90
    assert 12 <= statistics.median(lengths) <= 16


def test_the_median_is_that_of_what_was_counted_in_between() -> None:
    """Ten batches between 1 and 2 ms, thirty between 2 and 4: the twentieth is a third of the way from 2 to 4."""
    before = {0.001: 5.0, 0.002: 100.0, 0.004: 100.0, float("inf"): 100.0}
    after = {0.001: 5.0, 0.002: 110.0, 0.004: 140.0, float("inf"): 140.0}
    assert serving_text._median_s(before, after) == pytest.approx(0.002 + 0.002 / 3)


def test_a_rival_that_takes_lists_is_sent_lists() -> None:
    setting = serving_rivals.Setting(1, 1)
    single = serving_rivals.Running(serving_rivals.RIVALS["litserve"], setting, 1, "http://127.0.0.1:1/predict")
    lists = serving_rivals.Running(serving_rivals.RIVALS["bentoml"], setting, 1, "http://127.0.0.1:1/predict")
    assert single.ask(["a"]).bodies == (b'{"input": "a"}',)
    assert lists.ask(["a"]).bodies == (b'{"input": ["a"]}',)
