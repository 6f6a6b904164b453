"""Trust in the explanations of texts: true ones pass, shuffled ones do not, and what was not measured is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepseek.cli import main
from deepseek.engines.text import TextEngine, TextModel
from deepseek.errors import InputError
from deepseek.explain import BundleExplanation, explain_bundle, schema
from deepseek.explain.evaluation.masking_curves import attribution_agreement
from deepseek.explain.evaluation.minimal_evidence import find_minimal_evidence
from deepseek.explain.evaluation.text_faithfulness import text_faithfulness
from deepseek.explain.media.texts import TextExplainer
from support.nets.textfolders import make_text_folder
from support.pages.chinese import english_left_over
from support.rows.keywords import keyword_folder
from support.servers.browser import OpenPage, browser, open_page

__all__ = ["browser", "open_page"]  # fixtures

LONG = "i am very happy and the film is good , not sad at all ."
TEXTS = [LONG, "the cat sat on a very big mat and berlin is good , bad .", "good", "\u200b", "the cat is good"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return keyword_folder(tmp_path_factory.mktemp("trust") / "moods")


@pytest.fixture(scope="module")
def trust_report(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[BundleExplanation, Path]:
    """All texts, and the folder with the page and the document."""
    out = tmp_path_factory.mktemp("told")
    trust = explain_bundle(folder, {"text": TEXTS}, trust=True, html=out / "why.html", json_file=out / "why.json")
    return trust, out


def test_the_page_has_no_english_left_over_in_chinese(trust_report: Any) -> None:
    words = {word for text in TEXTS for word in text.split()} | {"moods", "text", "bad"}
    assert english_left_over((trust_report[1] / "why.html").read_text("utf-8"), words) == {}


@pytest.mark.slow
def test_the_words_that_the_model_knows_pass_and_shuffled_values_do_not(folder: Path, trust_report: Any) -> None:
    first = trust_report[0]["trust"]["rows"][0]
    assert first["deletion"]["passes"]
    assert first["insertion"]["passes"]
    assert first["infidelity"] < 0.05
    assert first["agreement"]["rank_correlation"] > 0.7
    assert first["deletion"]["points"][0] == pytest.approx(trust_report[0]["explanations"][0]["output"], abs=1e-4)
    row = trust_report[0].rows[0]
    tokens = row.parts[0]["tokens"]
    values = [token["value"] for token in tokens]
    wrong = [
        [-value for value in values],
        np.roll(values, 5).tolist(),
    ]
    engine = TextEngine.open(folder)
    explainer = TextExplainer(TextModel.open(folder), engine.run)
    for each in wrong:
        changed = [{**token, "value": value} for token, value in zip(tokens, each, strict=True)]
        changed_row = replace(row, parts=(row.parts[0] | {"tokens": changed},))
        (trust,) = text_faithfulness(explainer, folder, [changed_row], limit_s=60.0)["rows"]
        assert not trust["deletion"]["passes"]
        assert not trust["insertion"]["passes"]
        assert trust["infidelity"] > max(0.5, 10 * first["infidelity"])
        assert trust["agreement"]["rank_correlation"] < 0.7
    engine.close()


def test_a_shuffled_model_is_explained_otherwise_from_the_answer_down(trust_report: Any) -> None:
    lines = trust_report[0]["trust"]["randomised"]
    assert [line["layer"] for line in lines] == ["head", "layer 1", "layer 0", "embeddings"]
    assert lines[-1]["similarity"] < 0.5


def test_the_least_evidence_is_told_where_there_is_any(trust_report: Any) -> None:
    rows = {row["row_id"]: row["counterfactual"] for row in trust_report[0]["trust"]["rows"]}
    assert (rows[4]["from"], rows[4]["to"]) == ("good", "bad")
    assert rows[4]["changes"] == {"text": ["the cat is good", "the cat is […]"]}
    assert rows[4]["tokens"] == [{"text": "good", "start": 11, "end": 15}]
    for token in rows[0]["tokens"]:
        assert token["text"] in ("good", "happy", "very")


def test_texts_of_one_token_or_none_are_said_to_tell_nothing(trust_report: Any) -> None:
    trust = trust_report[0]["trust"]
    assert [row["row_id"] for row in trust["rows"]] == [0, 1, 2, 4]
    assert any("without a token that could be taken away: row 3" in note for note in trust["notes"])
    one = trust["rows"][2]
    assert (one["num_players"], one["agreement"], one["sensitivity"]) == (1, None, None)
    assert not one["deletion"]["passes"]
    assert any("so few orders" in note for note in trust["notes"])
    assert any("no sensitivity" in note for note in trust["notes"])


def test_nothing_to_take_away_is_no_error(folder: Path) -> None:
    trust = explain_bundle(folder, {"text": ["\u200b"]}, trust=True)["trust"]
    assert (trust["rows"], trust["expected_s"]) == (None, 0.0)
    assert "no text has a token" in trust["why"]


def test_the_document_keeps_to_the_schema_and_the_page_speaks_of_tokens(trust_report: Any, open_page: OpenPage) -> None:
    import jsonschema_rs

    said, out = trust_report
    assert json.loads((out / "why.json").read_text("utf-8"))["trust"] == said.faithfulness.to_dict()
    validator = jsonschema_rs.validator_for(schema())
    assert [str(error) for error in validator.iter_errors(json.loads((out / "why.json").read_text("utf-8")))] == []
    assert said["provenance"]["cost"]["evaluations"] > said["trust"]["num_evaluations"]
    shown = open_page((out / "why.html").as_uri()).inner_text("#trust")
    assert "Taking tokens away" in shown
    assert "by the mask that the model was trained with" in shown
    assert "It would be bad instead of good" in shown
    assert "columns" not in shown


def test_a_short_time_leaves_out_steps_rows_and_the_shuffled_model(folder: Path, trust_report: Any) -> None:
    engine = TextEngine.open(folder)
    explainer = TextExplainer(TextModel.open(folder), engine.run)
    rows = trust_report[0]["explanations"]
    trust = text_faithfulness(explainer, folder, rows, limit_s=1e-9, open_s=1.0)
    assert trust["num_rows"] == len(trust["rows"]) == 1
    assert trust["randomised"] == []
    words = " ".join(trust["notes"])
    for said in ("only the first 1 of 4 rows", "curves have 5 steps in place of 20", "the model was not shuffled"):
        assert said in words
    assert len(trust["rows"][0]["deletion"]["at"]) == 6
    run = engine.run

    def slow(arrays: Any) -> Any:
        import time

        time.sleep(0.2)
        return run(arrays)

    unasked = text_faithfulness(explainer.with_run(slow), folder, rows)
    assert unasked["rows"] is None
    assert unasked["expected_s"] > 5
    engine.close()


@pytest.mark.slow
def test_each_row_is_measured_for_the_class_that_is_explained(tmp_path: Path) -> None:
    folder = keyword_folder(tmp_path / "three", labels=("bad", "good", "neither"))
    text = {"text": [LONG]}
    own = explain_bundle(folder, text, trust=True)["trust"]["rows"][0]
    other = explain_bundle(folder, text, trust=True, target="bad")["trust"]["rows"][0]
    third = explain_bundle(folder, text, trust=True, target="neither")["trust"]["rows"][0]
    assert own["deletion"]["points"][0] == pytest.approx(-other["deletion"]["points"][0], abs=1e-3)
    assert own["counterfactual"]["from"] == "good"
    assert (other["counterfactual"], third["counterfactual"]) == (None, None)  # nothing is said of the class answered


@pytest.mark.slow
def test_embeddings_have_curves_and_no_counterfactual(tmp_path: Path, capsys: Any) -> None:
    folder = make_text_folder(tmp_path / "embeds", "distilbert")
    (tmp_path / "rows.csv").write_text(f'text\n"{LONG}"\n')
    assert main(["explain", str(folder), str(tmp_path / "rows.csv"), "--trust"]) == 0
    said = capsys.readouterr().out
    assert "how far to trust it" in said
    assert "agreement with KernelSHAP by masking tokens" in said
    (row,) = explain_bundle(folder, tmp_path / "rows.csv", trust=True)["trust"]["rows"]
    assert row["counterfactual"] is None
    assert row["deletion"]["points"][0] == pytest.approx(1.0, abs=1e-5)


@pytest.mark.slow
def test_the_graph_of_a_converted_model_is_shuffled_by_module(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from deepseek.engines.text.convert.convert import convert
    from support.nets.convertible import make_convertible

    folder = tmp_path / "converted"
    convert(make_convertible(tmp_path / "source", "albert", "sequence-classification"), folder)
    trust = explain_bundle(folder, {"text": [LONG]}, trust=True)["trust"]
    assert len(trust["randomised"]) > 2
    assert all("." in line["layer"] or "classifier" in line["layer"] for line in trust["randomised"])
    assert trust["randomised"][-1]["similarity"] < 0.9
    assert trust["rows"][0]["deletion"]["passes"]


def test_a_long_text_is_compared_with_what_is_lost_without_each_token(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepseek.explain.evaluation.masking_faithfulness.MAX_KERNEL_PLAYERS", 8)
    trust = explain_bundle(folder, {"text": [LONG, "the cat is good"]}, trust=True)
    assert trust["trust"]["second"] == "KernelSHAP by masking tokens, above 8 leaving out one at a time"
    row = trust["explanations"][0]
    engine = TextEngine.open(folder)
    masked = TextExplainer(TextModel.open(folder), engine.run).mask_text(LONG, row["target"])
    num = len(masked.spans)
    lost = row["output"] - masked.value(~np.eye(num, dtype=bool))
    engine.close()
    values = np.array([token["value"] for token in row["parts"][0]["tokens"]])
    assert trust["trust"]["rows"][0]["agreement"] == pytest.approx(attribution_agreement(values, lost), abs=0.05)


def test_a_text_has_no_columns_to_fix_no_training_rows_and_no_layers(folder: Path) -> None:
    for options, word in (({"fixed": ["text"]}, "--fixed"), ({"training": {"text": ["good"]}}, "--training"),
                          ({"layers": True}, "--layers")):  # fmt: skip
        with pytest.raises(InputError, match=word):
            explain_bundle(folder, {"text": ["good"]}, **options)  # type: ignore[arg-type]


def test_evidence_is_the_least_that_is_needed() -> None:
    """3 + 2 + 1 - 1 with a limit of 2.5: without the first it is 2. The model may need two together, too."""
    line = np.array([3.0, 2.0, 1.0, -1.0])
    assert find_minimal_evidence(lambda masks: (masks @ line > 2.5).astype(int), line) == ([0], 0, 5)
    either = np.array([1.0, 0.5, 1.0, 0.0])
    assert find_minimal_evidence(lambda masks: (masks[:, 0] | masks[:, 2]).astype(int), either)[0] == [0, 2]
    assert find_minimal_evidence(lambda masks: np.ones(len(masks), int), line) is None
