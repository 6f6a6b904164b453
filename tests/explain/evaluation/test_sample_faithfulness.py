"""Trust in the explanations of files, texts and tables together: of their columns, and of the parts of each."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deepseek.contracts import Tensors
from deepseek.data import read_table
from deepseek.engines import MultimodalRuntime
from deepseek.errors import InputError
from deepseek.explain import BundleExplanation, explain_bundle, schema
from deepseek.explain.evaluation.masking_curves import FaithfulnessConfig
from deepseek.explain.evaluation.perturbation import perturb_sample
from deepseek.explain.evaluation.sample_faithfulness import sample_faithfulness
from deepseek.explain.media.modalities import ModalityExplainer
from deepseek.explain.report.samples import explain_row_parts
from deepseek.explain.shapley.partition import Budget
from support.pages.chinese import english_left_over
from support.rows.sampled import sampled_bundle
from support.servers.browser import OpenPage, browser, open_page

__all__ = ["browser", "open_page"]  # fixtures

COLUMNS = ("photo", "pulse", "cough", "note", "age")
NOTE = "Coughs at night. Sleeps well, says nothing at night"
TEXT_WORDS = NOTE.replace(".", "").replace(",", "").split()
LEFT = np.where(np.arange(8) < 3, 8.0, -1.0).astype(np.float32)[None, None, None] * np.ones((1, 1, 8, 8), np.float32)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It looks at the left of its photos, and reads the rest by means."""
    return sampled_bundle(tmp_path_factory.mktemp("trust") / "all", COLUMNS, weights={"photo": LEFT})


@pytest.fixture(scope="module")
def visits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first row has no sound, the second no text either."""
    root = tmp_path_factory.mktemp("visits")
    pixels = np.random.default_rng(0).integers(0, 120, (8, 8), np.uint8)
    Image.fromarray(pixels).save(root / "0.png")
    lines = ["photo,pulse,cough,note,age,sex,ill", f'0.png,"[[9, 1], [2, null], [1, 1]]",,"{NOTE}",30,f,no']
    (root / "visits.csv").write_text("\n".join([*lines, '0.png,"[[1, 1]]",,,40,m,yes']) + "\n")
    return root / "visits.csv"


@pytest.fixture(scope="module")
def trust_report(
    bundle: Path, visits: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[BundleExplanation, Path]:
    out = tmp_path_factory.mktemp("told")
    return explain_bundle(bundle, visits, trust=True, html=out / "why.html", json_file=out / "why.json"), out


def test_the_page_has_no_english_left_over_in_chinese(trust_report: Any) -> None:
    names = {*COLUMNS, "sex", "ill", "yes", "no", "all", "left", "right", "net", "table", "null", "0.png", *TEXT_WORDS}
    assert english_left_over((trust_report[1] / "why.html").read_text("utf-8"), names) == {}


def explained(runtime: MultimodalRuntime, visits: Path, trust_report: Any) -> list[Any]:
    """What sample_faithfulness() takes."""
    explainer = ModalityExplainer(runtime)
    rows_with_parts = []
    for record, row in zip(read_table(visits).records(), trust_report[0].rows, strict=True):
        sample = runtime.prepare([record], root=visits.parent).tensors
        rows_with_parts.append(explain_row_parts(explainer, sample, record, row, Budget()))
    return rows_with_parts


def test_columns_and_parts_are_measured_and_a_missing_column_is_no_player(trust_report: Any) -> None:
    first, second = trust_report[0]["trust"]["rows"]
    assert (first["num_players"], second["num_players"]) == (4, 3)
    assert [part["column"] for part in first["parts"]] == ["photo", "pulse", "note"]
    assert [part["column"] for part in second["parts"]] == ["photo", "pulse"]
    assert [part["unit"] for part in first["parts"]] == ["regions", "stretches", "tokens"]
    for row, said in zip((first, second), trust_report[0]["explanations"], strict=True):
        assert row["deletion"]["points"][0] == pytest.approx(said["output"], abs=1e-5)
        assert row["deletion"]["points"][-1] == pytest.approx(said["base_value"], abs=1e-5)
        assert row["infidelity"] < 0.2
        assert 0 < row["sensitivity"] < 0.1
    notes = " ".join(trust_report[0]["trust"]["notes"])
    for word in ("so few columns", "exact: every set", "no sensitivity of parts"):
        assert word in notes


def test_the_regions_that_the_model_looks_at_pass_and_others_do_not(
    bundle: Path, visits: Path, trust_report: Any
) -> None:
    true = trust_report[0]["trust"]["rows"][0]["parts"][0]
    assert true["deletion"]["passes"]
    assert true["insertion"]["passes"]
    assert true["infidelity"] < 0.3
    with MultimodalRuntime.open(bundle) as runtime:
        (row, _) = explained(runtime, visits, trust_report)
        column, part = row.parts[0]
        draw = np.random.default_rng(1).permutation(len(part.regions))
        values = [each.value for each in part.regions]
        for wrong in ([-value for value in values], [values[place] for place in draw]):
            regions = tuple(replace(region, value=value) for region, value in zip(part.regions, wrong, strict=True))
            changed_row = replace(row, parts=[(column, replace(part, regions=regions))])
            (false,) = sample_faithfulness(ModalityExplainer(runtime), [changed_row], limit_s=60.0)["rows"][0]["parts"]
            assert not false["deletion"]["passes"]
            assert not false["insertion"]["passes"]
            assert false["infidelity"] > max(1.0, 3 * true["infidelity"])
            assert false["agreement"]["rank_correlation"] < true["agreement"]["rank_correlation"]


def test_columns_with_values_of_others_are_unfaithful(bundle: Path, visits: Path, trust_report: Any) -> None:
    with MultimodalRuntime.open(bundle) as runtime:
        row = explained(runtime, visits, trust_report)[0]
        turned = {name: -value for name, value in row.row.contributions.items()}
        changed_row = replace(row, row=replace(row.row, contributions=turned), parts=[])
        (false,) = sample_faithfulness(ModalityExplainer(runtime), [changed_row], limit_s=60.0)["rows"]
    assert false["infidelity"] > 1
    assert false["agreement"]["rank_correlation"] < 0
    assert false["deletion"]["area"] > trust_report[0]["trust"]["rows"][0]["deletion"]["area"]


def test_a_shuffled_graph_is_explained_otherwise_and_one_without_weights_is_said(
    visits: Path, trust_report: Any, tmp_path: Path
) -> None:
    (line,) = trust_report[0]["trust"]["randomised"]
    assert line["layer"] == "net.photo"
    assert line["similarity"] < 0.9
    trust = explain_bundle(sampled_bundle(tmp_path / "bare", COLUMNS), visits, trust=True)["trust"]
    assert trust["randomised"] == []
    assert any("no weights but single numbers" in note for note in trust["notes"])


def test_the_least_columns_are_told_without_which_the_class_changes(
    visits: Path, trust_report: Any, tmp_path: Path
) -> None:
    """It is asked for again without them. A table is never among them: no row is sent without it."""
    assert not any(
        "table" in (row["counterfactual"] or {"changes": {}})["changes"] for row in trust_report[0]["trust"]["rows"]
    )
    dark = {"photo": np.full((1, 1, 8, 8), -0.5, np.float32)}
    bundle = sampled_bundle(tmp_path / "files", ("photo", "pulse", "note"), weights=dark)
    record = {"photo": str(visits.parent / "0.png"), "pulse": "[[9, 1], [2, 1], [1, 1]]", "note": NOTE}
    trust = explain_bundle(bundle, {name: [value] for name, value in record.items()}, files=visits.parent, trust=True)
    other = trust["trust"]["rows"][0]["counterfactual"]
    assert other["from"] == trust["explanations"][0]["prediction"].split()[0]
    assert all(pair == [record[name], None] for name, pair in other["changes"].items())
    with MultimodalRuntime.open(bundle) as runtime:
        counterfactual = [{**record, **dict.fromkeys(other["changes"])}]
        counterfactual += [{**counterfactual[0], name: record[name]} for name in other["changes"]]
        answers = runtime.predict(counterfactual, root=visits.parent).labels
    assert answers is not None
    assert answers.tolist() == [other["to"], *[other["from"]] * len(other["changes"])]


def test_the_document_keeps_to_the_schema_and_the_page_speaks_of_each_column(
    trust_report: Any, open_page: OpenPage
) -> None:
    import jsonschema_rs

    _, out = trust_report
    said = json.loads((out / "why.json").read_text("utf-8"))
    validator = jsonschema_rs.validator_for(schema())
    assert [str(error) for error in validator.iter_errors(said)] == []
    shown = open_page((out / "why.html").as_uri()).inner_text("#trust")
    assert "Of 4 columns or fewer" in shown
    assert "photo: Taking regions away" in shown
    assert "A column is taken away as if it were missing" in shown
    assert "去掉各区域" in open_page((out / "why.html").as_uri(), locale="zh-CN").inner_text("#trust")


def test_a_short_time_leaves_out_parts_rows_and_the_shuffled_model(
    bundle: Path, visits: Path, trust_report: Any
) -> None:
    with MultimodalRuntime.open(bundle) as runtime:
        rows = explained(runtime, visits, trust_report)
        trust = sample_faithfulness(ModalityExplainer(runtime), rows, limit_s=1e-9)
    assert trust["num_rows"] == 1
    assert trust["rows"][0]["parts"] == []
    words = " ".join(trust["notes"])
    for said in ("only the first 1 of 2 rows", "parts of only the first 0 of 1 rows", "to keep to the time limit"):
        assert said in words


def test_what_nobody_asked_for_is_left_out_where_it_is_dear(
    bundle: Path, visits: Path, trust_report: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepseek.explain.evaluation.sample_faithfulness.fastest_call_s", lambda call: 1.0)
    with MultimodalRuntime.open(bundle) as runtime:
        trust = sample_faithfulness(ModalityExplainer(runtime), explained(runtime, visits, trust_report))
    assert trust["rows"] is None
    assert trust["expected_s"] > 5


@pytest.mark.parametrize(("labels", "target"), [((), None), (("a", "b", "c"), "b")])
def test_values_and_single_classes_are_measured(
    visits: Path, tmp_path: Path, labels: tuple[str, ...], target: str | None
) -> None:
    bundle = sampled_bundle(tmp_path / "other", COLUMNS, labels=labels, weights={"photo": LEFT})
    trust = explain_bundle(bundle, visits, trust=True, target=target, rows=[0])
    (row,) = trust["trust"]["rows"]
    assert row["deletion"]["points"][0] == pytest.approx(trust["explanations"][0]["output"], abs=1e-5)
    if not labels or trust["explanations"][0]["prediction"].split()[0] != target:
        assert row["counterfactual"] is None


def test_neighbours_are_moved_numbers_and_the_same_codes(bundle: Path, visits: Path) -> None:
    with MultimodalRuntime.open(bundle) as runtime:
        sample = runtime.prepare(read_table(visits).records()[:1], root=visits.parent).tensors
        near = perturb_sample(runtime.preparer, sample, FaithfulnessConfig(num_near=4, radius=0.1))
        assert near is not None
        assert len(near) == 4
        for name, array in sample.arrays.items():
            moved = near.arrays[name]
            assert moved.dtype == array.dtype
            if name in ("photo", "pulse", "table"):
                assert (moved != array).any()
            else:  # ids, a missing sound, and what says which are there
                np.testing.assert_array_equal(moved, np.repeat(array, 4, axis=0))
        np.testing.assert_array_equal(near.arrays["pulse"][:, 2:], np.repeat(sample.arrays["pulse"][:, 2:], 4, axis=0))
        assert np.abs(near.arrays["photo"].astype(int) - sample.arrays["photo"]).max() <= 12
        only = {name: array for name, array in sample.arrays.items() if name.startswith("note")}
        assert perturb_sample(runtime.preparer, Tensors(only), FaithfulnessConfig()) is None


def test_samples_have_no_rows_to_look_among_and_no_layers(bundle: Path, visits: Path) -> None:
    for options, word in (({"fixed": ["age"]}, "--fixed"), ({"training": visits}, "--training"),
                          ({"layers": True}, "--layers")):  # fmt: skip
        with pytest.raises(InputError, match=word):
            explain_bundle(bundle, visits, **options)  # type: ignore[arg-type]
