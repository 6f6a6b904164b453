"""`deepseek explain` on a real bundle: contributions that add up, in JSON, in words and as a page."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepseek.cli import main
from deepseek.contracts import Attribution, Float32
from deepseek.data import read_table
from deepseek.data.table.examples import load_example
from deepseek.engines import Runtime
from deepseek.errors import InputError
from deepseek.explain.bundle import explain_bundle
from deepseek.explain.tabular.explainer import ModelExplainer


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import pandas as pd

    table, target, _ = load_example("cancer")
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    pd.DataFrame(table.drop([target]).records(40)).to_csv(path, index=False)
    return path


def test_every_row_adds_up_to_its_output(cancer_bundle: Path, rows: Path, capsys) -> None:
    assert main(["explain", str(cancer_bundle), str(rows), "--row", "3", "--row", "39", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["num_rows"] == 40
    assert [row["row_id"] for row in said["explanations"]] == [3, 39]
    for row in said["explanations"]:
        assert row["base_value"] + sum(row["values"].values()) + row["residual"] == pytest.approx(row["output"])
        assert abs(row["residual"]) < 1e-3 * max(1, abs(row["output"]))
        assert row["reasons"]
    shares = [entry["share"] for entry in said["importance"]]
    assert sum(shares) == pytest.approx(1)
    assert shares == sorted(shares, reverse=True)


def test_what_is_beyond_training_stands_with_its_row(cancer_bundle: Path, rows: Path, tmp_path: Path, capsys) -> None:
    import pandas as pd

    frame = pd.read_csv(rows)
    frame.loc[3, "mean_radius"] = 1e9
    beyond, page = tmp_path / "beyond.csv", tmp_path / "why.html"
    frame.to_csv(beyond, index=False)
    command = ["explain", str(cancer_bundle), str(beyond), "--row", "2", "--row", "3", "--no-trust", "--json"]
    assert main([*command, "--html", str(page)]) == 0
    usual, row = json.loads(capsys.readouterr().out)["explanations"]
    assert "flags" not in usual
    assert {"column": "mean_radius", "what": "outside"} in row["flags"]
    assert "A number outside of the training range: " in page.read_text("utf-8")
    assert "超出训练范围的数值" in page.read_text("utf-8")


@pytest.mark.parametrize("where", ["everywhere", "row 3"])
def test_what_does_not_add_up_is_said_in_the_first_line(
    where: str, cancer_bundle: Path, rows: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ModelExplainer.explain

    def off(self: ModelExplainer, features: Float32, *, target: str | None = None) -> Attribution:
        attribution = whole(self, features, target=target)
        return (
            replace(attribution, output=attribution.output + 19.9)
            if where == "everywhere" or len(features) == 1
            else attribution
        )

    monkeypatch.setattr(ModelExplainer, "explain", off)
    page = tmp_path / "why.html"
    command = ["explain", str(cancer_bundle), str(rows), "--row", "3", "--no-trust"]
    assert main([*command, "--html", str(page)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("WARNING: ")
    assert "add up" in lines[0]
    assert ("row 3" in lines[0]) == (where == "row 3")
    assert any(line.startswith("row 3: ") and line.endswith("+19.9 of it NOT EXPLAINED") for line in lines)
    assert main([*command, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert next(iter(said)) == "warnings"
    assert len(said["warnings"]) == (2 if where == "everywhere" else 1)
    assert said["additivity"]["passes"] == (where != "everywhere")
    assert said["explanations"][0]["adds_up"] is False
    html = page.read_text("utf-8")
    answer = html[html.index("</h1>") :]
    assert "add up" in answer[:600]
    assert "19.9 of the output is left unexplained" in html


def test_what_adds_up_has_no_warning(cancer_bundle: Path, rows: Path, capsys) -> None:
    assert main(["explain", str(cancer_bundle), str(rows), "--row", "3", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["warnings"] == []
    assert said["explanations"][0]["adds_up"] is True
    assert main(["explain", str(cancer_bundle), str(rows), "--row", "3"]) == 0
    out = capsys.readouterr().out
    assert "WARNING" not in out
    assert "NOT EXPLAINED" not in out


def test_the_other_class_is_the_mirror_image(cancer_bundle: Path, rows: Path, capsys) -> None:
    values = []
    for label in ("benign", "malignant"):
        assert main(["explain", str(cancer_bundle), str(rows), "--row", "0", "--target", label, "--json"]) == 0
        values.append(list(json.loads(capsys.readouterr().out)["explanations"][0]["values"].values()))
    np.testing.assert_allclose(values[0], -np.array(values[1]), atol=1e-6)


def test_the_page_is_whole_and_the_terminal_says_it_in_words(
    cancer_bundle: Path, rows: Path, tmp_path: Path, capsys
) -> None:
    page = tmp_path / "why.html"
    assert main(["explain", str(cancer_bundle), str(rows), "--html", str(page)]) == 0
    out, err = capsys.readouterr()
    assert "row 0: " in out
    assert "log-odds" in out
    assert str(page) in err
    html = page.read_text("utf-8")
    assert "<svg" in html
    assert "http://" not in html.replace("http://www.w3.org", "")


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (["--row", "40"], "0 to 39"),
        (["--target", "sick"], "benign"),
        (["--html", "no/such/folder/page.html"], "mkdir"),
        (["--row", "0"] * 51, "at most 50"),
    ],
)
def test_what_cannot_be_explained_is_said(cancer_bundle: Path, rows: Path, args: list[str], word: str, capsys) -> None:
    assert main(["explain", str(cancer_bundle), str(rows), *args]) == 2
    assert word in capsys.readouterr().err


def test_layers_of_a_bundle_balance_and_a_model_without_any_says_so(
    cancer_bundle: Path, rows: Path, tmp_path: Path, capsys
) -> None:
    page = tmp_path / "why.html"
    command = ["explain", str(cancer_bundle), str(rows), "--row", "0", "--row", "7", "--layers", "--html", str(page)]
    with Runtime.open(cancer_bundle) as runtime:
        nets = [part for part in runtime.model.parts if part.kind == "mlp"]
        features = runtime.prepare_table(read_table(rows).take(np.array([0, 7]))).features
    code = main([*command, "--json"])
    if not nets:
        assert code == 2
        assert "this model has no layers" in capsys.readouterr().err
        assert not page.exists()
        return
    (path,) = json.loads(capsys.readouterr().out)["layers"]
    assert code == 0
    assert path["passes"] is True
    np.testing.assert_allclose(path["output"], nets[0].weights.margin(features)[:, 0], atol=1e-4)


def test_the_room_is_the_verb_whatever_was_imported(cancer_bundle: Path, rows: Path, capsys) -> None:
    import deepseek as ds
    import deepseek.explain as room

    assert ds.explain is room
    explanation = ds.explain(cancer_bundle, rows, rows=[3])
    assert main(["explain", str(cancer_bundle), str(rows), "--row", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == explanation.to_dict()
    assert explanation["importance"][0]["column"] == explanation.importance[0].column
    assert main(["explain", str(cancer_bundle), str(rows), "--row", "3"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.rstrip() for line in printed] == explanation.summary().splitlines()
    with pytest.raises(InputError, match="no row -1"):
        ds.explain(cancer_bundle, rows, rows=[-1])


def test_single_rows_are_explained_once(
    cancer_bundle: Path, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    explained_rows: list[int] = []
    explain = ModelExplainer.explain

    def counted(self: ModelExplainer, features: Float32, *, target: str | None = None) -> Attribution:
        explained_rows.append(len(features))
        return explain(self, features, target=target)

    monkeypatch.setattr(ModelExplainer, "explain", counted)
    explain_bundle(cancer_bundle, rows, rows=[0, 1, 2], html=tmp_path / "why.html")
    assert explained_rows.count(3) == 1


@pytest.mark.slow
def test_of_many_classes_each_row_is_explained_by_its_own(tmp_path: Path, capsys) -> None:
    from deepseek.automl.ship import ship
    from support.rows.loans import for_task, make_loans

    frame = for_task(make_loans(300), "multiclass")
    shipped = ship(frame, target="grade", out=tmp_path / "loans", trials=2, candidates=["linear"])
    html = tmp_path / "why.html"
    explanation = explain_bundle(shipped.path, frame.drop(columns="grade"), rows=range(20), html=html)
    rows = explanation["explanations"]
    assert [row["row_id"] for row in rows] == list(range(20))
    assert [row["target"] for row in rows] == [row["prediction"].split(" (")[0] for row in rows]
    assert len({row["target"] for row in rows}) > 1
    for row in rows:
        assert row["base_value"] + sum(row["values"].values()) + row["residual"] == pytest.approx(row["output"])
    one = explain_bundle(shipped.path, frame.drop(columns="grade"), rows=range(20), target="fair")
    assert {row["target"] for row in one["explanations"]} == {"fair"}
    assert set(explanation["by_class"]) == {"bad", "fair", "good"}
    frame.drop(columns="grade").to_csv(tmp_path / "rows.csv", index=False)
    assert main(["explain", str(shipped.path), str(tmp_path / "rows.csv")]) == 0
    assert "of all 3 classes" in capsys.readouterr().out


def test_the_page_counts_the_rows_that_were_given(cancer_bundle: Path, tmp_path: Path) -> None:
    table, target, _ = load_example("cancer")
    explain_bundle(cancer_bundle, table.drop([target]), html=tmp_path / "why.html")
    assert "500 of 569" in (tmp_path / "why.html").read_text("utf-8")


@pytest.fixture(scope="module")
def report(
    cancer_bundle: Path, rows: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, object], str]:
    """A signed report with everything, as the shell makes it: its folder, the object, the command."""
    import contextlib
    import io

    import pandas as pd

    folder = tmp_path_factory.mktemp("report")
    table, _, _ = load_example("cancer")
    pd.DataFrame(table.records(150)).to_csv(folder / "training.csv", index=False)
    assert main(["keygen", str(folder / "key")]) == 0
    words = [
        "--row",
        "0",
        "--row",
        "3",
        "--trust",
        "--training",
        str(folder / "training.csv"),
        "--fixed",
        "mean_radius",
    ]
    words += ["--html", str(folder / "why.html"), "--json-file", str(folder / "why.json"), "--key", str(folder / "key")]
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main(["explain", str(cancer_bundle), str(rows), *words, "--json"]) == 0
    return folder, json.loads(said.getvalue()), said.getvalue()


def test_the_file_holds_what_is_printed_and_keeps_to_the_schema(report: Any) -> None:
    import jsonschema_rs

    from deepseek.explain import schema

    folder, said, _ = report
    assert json.loads((folder / "why.json").read_text("utf-8")) == said
    validator = jsonschema_rs.validator_for(schema())
    assert [str(error) for error in validator.iter_errors(said)] == []
    assert not validator.is_valid(said | {"provenance": {}})
    origin = said["provenance"]
    assert origin["model"]["digest"] == said["digest"]
    assert origin["data"]["digest"] == read_table(origin["command"].split()[3]).digest()
    assert origin["cost"]["evaluations"] > said["trust"]["num_evaluations"] - 100
    for option in ("--row 3", "--trust", "--training", "--fixed mean_radius", "--html why.html"):
        assert option in origin["command"]


@pytest.mark.slow
def test_true_explanations_pass_and_their_opposites_do_not(cancer_bundle: Path, rows: Path, report: Any) -> None:
    from deepseek.explain.evaluation.column_faithfulness import column_faithfulness
    from deepseek.explain.tabular.explainer import explainer_for

    said = report[1]
    for row in said["trust"]["rows"]:
        assert row["deletion"]["passes"]
        assert row["insertion"]["passes"]
        assert row["agreement"]["rank_correlation"] > 0.8
        assert row["nearest"][0]["answer"] in ("benign", "malignant")
        changes = row["counterfactual"]["changes"]
        assert changes
        assert "mean_radius" not in changes
    assert said["trust"]["rows"][0]["nearest"][0]["distance"] == 0  # it is a training row
    explained = explain_bundle(cancer_bundle, rows, rows=[0, 3]).rows
    wrong = [
        replace(row, contributions={name: -value for name, value in row.contributions.items()}) for row in explained
    ]
    with Runtime.open(cancer_bundle) as runtime:
        explainer = explainer_for(runtime.model, runtime.preprocessor.owners(), score=runtime.score)
        table = read_table(rows)
        few = table.take(np.array([0, 3]))
        evaluation = column_faithfulness(runtime, explainer, few, wrong, others=table, limit_s=60.0)
        assert not any(row["deletion"]["passes"] or row["insertion"]["passes"] for row in evaluation["rows"])
        assert all(row["infidelity"] > 1 for row in evaluation["rows"])
        short = column_faithfulness(runtime, explainer, few, wrong, others=table, limit_s=1e-9)
        assert (short["num_rows"], short["num_others"]) == (1, 1)
        assert "only the first 1 of 2 rows" in short["notes"][0]


def test_a_signed_report_is_verified_and_a_changed_one_is_not(report: Any, tmp_path: Path, capsys) -> None:
    folder = report[0]
    for name in ("why.html", "why.json"):
        assert main(["verify", str(folder / name), "--key", str(folder / "key.pub"), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["signature"] == "good"
        for end in ("", ".sig"):
            (tmp_path / (name + end)).write_bytes((folder / (name + end)).read_bytes())
        (tmp_path / name).write_bytes((folder / name).read_bytes() + b" ")
        assert main(["verify", str(tmp_path / name), "--key", str(folder / "key.pub")]) == 3
        assert f"{name}.sig does not fit {name}" in capsys.readouterr().out
        (tmp_path / f"{name}.sig").unlink()
        assert main(["verify", str(tmp_path / name)]) == 3
        assert "not signed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (["--key", "{key}"], "nothing to sign"),
        (["--trust", "--fixed", "mean_raduis"], "there is no column 'mean_raduis'"),
        (["--json-file", "no/such/folder/why.json"], "mkdir"),
    ],
)
def test_what_cannot_be_signed_or_fixed_is_said_before_anything_is_written(
    cancer_bundle: Path, rows: Path, report: Any, tmp_path: Path, args: list[str], word: str, capsys
) -> None:
    out = tmp_path / "why.html"
    words = [arg.format(key=report[0] / "key", out=out) for arg in args]
    assert main(["explain", str(cancer_bundle), str(rows), "--row", "0", *words]) == 2
    assert word in capsys.readouterr().err
    assert not out.exists()


def test_a_public_key_says_who_must_have_signed_the_bundle(
    cancer_bundle: Path, rows: Path, report: Any, tmp_path: Path, capsys
) -> None:
    out = tmp_path / "why.html"
    public = str(report[0] / "key.pub")
    assert main(["explain", str(cancer_bundle), str(rows), "--row", "0", "--key", public, "--html", str(out)]) == 3
    assert "is not signed" in capsys.readouterr().err
    assert not out.exists()
