"""Whether the judge of pairs helps: only where held questions say so, and it is served as it was held."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")

from deepseek.automl.assistant.pair_hold import measure_use, sign_test


def held_scores(num_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """(labels, scores of a head that knows three of four rows)."""
    labels = np.arange(num_rows, dtype=np.int64) % 3
    scores = np.random.default_rng(0).normal(scale=0.01, size=(num_rows, 3)).astype(np.float32)
    shown = np.where(np.arange(num_rows) % 4 == 0, (labels + 1) % 3, labels)
    scores[np.arange(num_rows), shown] += 1
    return labels, scores


def test_a_head_that_knows_more_is_used_and_one_that_knows_nothing_is_not() -> None:
    labels, scores = held_scores(240)
    right = np.eye(3, dtype=np.float32)[labels]
    use = measure_use([scores], right, labels)
    assert (use.helps, use.num_held, use.right_without, use.only_without) == (True, 240, 180, 0)
    assert use.only_with == use.right_with - 180 > 30
    nothing = np.random.default_rng(1).uniform(size=(240, 3)).astype(np.float32)
    assert not measure_use([scores], nothing, labels).helps


def test_few_held_questions_say_nothing() -> None:
    labels, scores = held_scores(48)
    use = measure_use([scores], np.eye(3, dtype=np.float32)[labels], labels)
    assert (use.helps, use.num_held) == (False, 48)
    assert "too few" in use.reason


def test_the_sign_test_is_its_sum() -> None:
    assert sign_test(4, 1) == pytest.approx((5 + 1) / 32)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an encoder, questions with intents, and pairs of questions of the same and of other kinds."""
    pytest.importorskip("torch")
    pytest.importorskip("openvino")
    pytest.importorskip("tokenizers")
    from support.nets.textfolders import make_text_folder

    folder = tmp_path_factory.mktemp("pairs")
    make_text_folder(folder / "bert")
    kinds = {"happy": ["happy cat", "very happy", "a happy mat"], "bad": ["bad film", "very bad", "a bad mat"]}
    with (folder / "train.csv").open("w", newline="") as file:
        rows = [(f"{text} {number}", name) for name, texts in kinds.items() for text in texts for number in range(14)]
        csv.writer(file).writerows([("question", "intent"), *rows])
    draw = np.random.default_rng(0)
    with (folder / "pairs.csv").open("w", newline="") as file:
        write = csv.writer(file)
        write.writerow(["a", "b", "c"])
        for number in range(300):
            one, other = (("happy", "bad")[side] for side in draw.integers(2, size=2))
            write.writerow([f"{kinds[one][number % 3]} {number}", f"{kinds[other][0]} {number}", int(one == other)])
    return folder


@pytest.mark.slow
def test_the_command_measures_the_judge_and_says_whether_it_is_used(files: Path, tmp_path: Path) -> None:
    from deepseek.bundle import verify_bundle
    from deepseek.cli import main

    out = tmp_path / "help"
    status = main([
        "recipe", "assistant", "--intents", str(files / "train.csv"), "--encoder", str(files / "bert"),
        "--pairs", str(files / "pairs.csv"), "--question-a", "a", "--question-b", "b", "--same", "c",
        "--out", str(out), "--json",
    ])  # fmt: skip
    assert status == 0
    assert not verify_bundle(out)
    evidence = json.loads((out / "evidence" / "metrics.json").read_text())["pairs"]
    settings = json.loads((out / "assistant.json").read_text())
    assert evidence["figures"]["num_pairs"] + evidence["num_learned"][0] == 300
    assert set(evidence["figures"]["accuracy"]) == {"value", "low", "high"}
    assert evidence["use"]["helps"] == (settings["pairs"] is not None)


@pytest.mark.slow
def test_a_judge_that_helps_is_served_from_the_bundle_as_it_was_fitted(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deepseek.automl.assistant import pair_hold
    from deepseek.automl.assistant.options import AssistantOptions
    from deepseek.data import read_table
    from deepseek.engines.assistant import load_assistant
    from deepseek.recipes.assistant.run import run_assistant

    monkeypatch.setattr(pair_hold, "LEVEL", 1.0)  # whatever it says
    options = AssistantOptions(tmp_path / "help", encoders=(files / "bert",))
    from deepseek.automl.assistant.labelled_pairs import PairColumns

    result = run_assistant(
        options, intents=read_table(files / "train.csv"), pairs=[read_table(files / "pairs.csv")],
        pair_columns=PairColumns("a", "b", "c"),
    )  # fmt: skip
    assistant = load_assistant(tmp_path / "help")
    assert assistant.model.pairs is not None
    assert len(assistant.model.pool) == 4  # terms, regression, nearest, pairs
    asked = ["very happy cat", "a bad film on a mat", "berlin"]
    fitted, served = (
        model.score(asked, encoders)
        for model, encoders in (
            (result.fitted.model, result.fitted.encoders), (assistant.model, assistant._encoders),
        )
    )  # fmt: skip
    np.testing.assert_allclose(served.shares, fitted.shares, atol=2e-2)  # the bundle keeps float16
    assert [each.intents[0].name for each in assistant.understand(asked[:2])] == ["happy", "bad"]


def test_pairs_without_an_encoder_are_refused(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from deepseek.automl.assistant.labelled_pairs import PairColumns
    from deepseek.automl.assistant.options import AssistantOptions
    from deepseek.data import read_table
    from deepseek.errors import InputError
    from deepseek.recipes.assistant import run

    monkeypatch.setattr(run, "installed_encoder", lambda: None)
    with pytest.raises(InputError, match="no encoder that could learn"):
        run.run_assistant(
            AssistantOptions(tmp_path / "help"), intents=read_table(files / "train.csv"),
            pairs=[read_table(files / "pairs.csv")], pair_columns=PairColumns("a", "b", "c"),
        )  # fmt: skip
