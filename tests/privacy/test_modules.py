"""Torch modules in a study: the same numbers as the perceptron that they are, code that each house has by itself, and a
bundle that serves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deepseek.bundle import open_bundle
from deepseek.cli import main
from deepseek.data import read_table
from deepseek.engines import open_runtime
from deepseek.errors import DeepseekError, InputError, IntegrityError
from deepseek.privacy.bundles.pack import finish_model
from deepseek.privacy.parties.inputs import InputRows, joiner, num_inputs
from deepseek.privacy.parties.module_source import provide_module, read_source
from deepseek.privacy.parties.objective import Objective
from deepseek.privacy.rounds.answer import LocalParty
from deepseek.privacy.rounds.course import advance, combine
from deepseek.privacy.rounds.state import begin_study
from deepseek.privacy.study.definition import Study, open_study, write_study
from deepseek.privacy.study.request import StudyRequest, make_study
from deepseek.privacy.study.settings import read_settings
from support.federation import loans_table, party_frame, party_table

torch = pytest.importorskip("torch", reason="needs the extra 'train'")
from deepseek.privacy.parties.module import ModuleObjective  # noqa: E402 - it needs torch

TARGETS = {"binary": "default", "multiclass": "grade", "regression": "price"}
CODE = """
from torch import nn

def build(num_inputs, num_outputs):
    return nn.Sequential(nn.Linear(num_inputs, 5), nn.ReLU(), nn.Linear(5, num_outputs))

def with_dropout(num_inputs, num_outputs):
    return nn.Sequential(nn.Linear(num_inputs, 50), nn.Dropout(0.5), nn.Linear(50, num_outputs))

def with_batch_norm(num_inputs, num_outputs):
    return nn.Sequential(nn.BatchNorm1d(num_inputs), nn.Linear(num_inputs, num_outputs))

def mixing(num_inputs, num_outputs):
    return nn.Sequential(nn.BatchNorm1d(num_inputs, track_running_stats=False), nn.Linear(num_inputs, num_outputs))

def wide(num_inputs, num_outputs):
    return nn.Linear(num_inputs, num_outputs + 1)

def failing(num_inputs, num_outputs):
    return nn.Linear(num_inputs, undefined)

def no_module(num_inputs, num_outputs):
    return 7
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    path = tmp_path / "net.py"
    path.write_text(CODE)
    return path


def module_study(code: Path, name: str = "build", *assignments: str, task: str = "binary") -> Study:
    source = f"{code}:{name}"
    settings = read_settings(None, ("model.kind='module'", "rounds.lr=0.3", *assignments))
    request = StudyRequest("loans", TARGETS[task], module=read_source(source))
    study = make_study(loans_table(task, seed=9), request, settings)
    provide_module(study, source)
    return study


def as_module(objective: Objective, parameters: np.ndarray) -> np.ndarray:
    """Parameters of a perceptron in the order of torch, whose weights are transposed."""
    return np.concatenate([part for weight, bias in objective.layers(parameters) for part in (weight.T.ravel(), bias)])


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_module_is_the_perceptron_that_it_describes(code: Path, task: str) -> None:
    study = module_study(code, task=task)
    module = ModuleObjective.of(study)
    sizes = (num_inputs(study), 5, study.num_margins)
    twin = Objective(sizes, study.task, study.settings.model.weight_decay)
    parameters = np.random.default_rng(0).normal(0, 0.5, twin.num_parameters)
    rows = LocalParty.of(study, "ada", loans_table(task, 60, seed=1)).training
    same = as_module(twin, parameters)
    assert module.num_parameters == twin.num_parameters
    assert np.allclose(module.margin(same, rows.inputs), twin.margin(parameters, rows.inputs), atol=1e-4)
    probabilities = module.probabilities(same, rows.inputs)
    assert np.allclose(probabilities, twin.probabilities(parameters, rows.inputs), atol=1e-4)
    assert np.allclose(module.gradient(same, rows), as_module(twin, twin.gradient(parameters, rows)), atol=1e-4)
    clipped, expected = module.clipped_sum(same, rows, 0.5), as_module(twin, twin.clipped_sum(parameters, rows, 0.5))
    assert np.abs(clipped - expected).max() < 2e-3 * np.abs(expected).max()
    nothing = InputRows(rows.inputs[:0], rows.target[:0])
    assert not module.clipped_sum(same, nothing, 0.5).any()


def test_what_a_module_draws_by_chance_is_drawn_again(code: Path) -> None:
    study = module_study(code, "with_dropout")
    state = replace(begin_study(study), task=1)
    answers = [LocalParty.of(study, "ada", party_table("ada")).answer(state).vector for _ in range(2)]
    assert np.array_equal(*answers)
    module, rows = ModuleObjective.of(study), LocalParty.of(study, "ada", party_table("ada")).training
    first = module.gradient(state.parameters, rows)
    assert not np.allclose(first, module.gradient(state.parameters + 1e-5, rows), atol=1e-3)  # other units are out


@pytest.mark.slow
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_the_finished_model_answers_as_the_parties_computed(code: Path, task: str) -> None:
    pytest.importorskip("onnxscript", reason="needs the extra 'compress'")
    study = module_study(code, task=task)
    parties = [LocalParty.of(study, name, loans_table(task, 120, seed=place)) for place, name in enumerate("abc")]
    state = begin_study(study)
    for _ in range(3):
        state = advance(study, state, combine(study, state, [each.answer(state) for each in parties]).vector, 1.0)
    table = loans_table(task, 50, seed=50).drop([TARGETS[task]])
    features = study.preprocessor.table(table).features
    inputs = (joiner(study).join(features) - state.standardization.mean) / state.standardization.spread
    expected = ModuleObjective.of(study).margin(state.parameters, inputs.astype(np.float32))
    if task == "regression":
        expected = expected * study.target_scale + study.target_centre
    margin = finish_model(study, state).parts[0].weights.margin(features)
    assert np.allclose(margin, expected, atol=1e-3)


@pytest.mark.slow
def test_the_shell_learns_a_module_of_three_parties_and_its_bundle_serves(
    code: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxscript", reason="needs the extra 'compress'")
    sample, data = tmp_path / "sample.csv", tmp_path / "all.csv"
    party_frame("sample", 200).to_csv(sample, index=False)
    party_frame("all", 400).to_csv(data, index=False)
    study, module = str(tmp_path / "study"), f"{code}:build"
    words = ["federate", "init", study, "--sample", str(sample), "--target", "default", "--set", "model.kind='module'",
             "--set", "rounds.lr=0.3", "--set", "rounds.num_rounds=5"]  # fmt: skip
    assert main(words) == 2
    assert "--module FILE.py:NAME" in capsys.readouterr().err
    assert main([*words, "--module", module]) == 0
    assert open_study(Path(study)).study.module == read_source(module)
    run = ["federate", "simulate", study, "--data", str(data), "--parties", "3", "--out", str(tmp_path / "bundle")]
    capsys.readouterr()
    assert main(run) == 2
    assert "whose code is not in the study" in capsys.readouterr().err
    assert main([*run, "--module", module, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    bundle = open_bundle(tmp_path / "bundle")
    assert report["digest"] == bundle.digest
    answers = open_runtime(bundle.path).predict(read_table(party_frame("new", 40).drop(columns=["default"])))
    assert answers.probabilities is not None
    assert np.isfinite(answers.probabilities).all()
    assert b"nn.Linear" not in b"".join(path.read_bytes() for path in bundle.path.rglob("*.json"))


def test_code_that_was_not_signed_is_never_run(tmp_path: Path, code: Path) -> None:
    study = module_study(code)
    other = tmp_path / "elsewhere" / "net.py"
    other.parent.mkdir()
    mark = tmp_path / "was-run"
    other.write_text(f"open({str(mark)!r}, 'w').close()\n{CODE}")
    with pytest.raises(IntegrityError, match="is not the code that was signed"):
        provide_module(study, f"{other}:build")
    with pytest.raises(IntegrityError, match="is not the code that was signed"):
        provide_module(study, f"{code}:wide")
    assert not mark.exists()


def test_what_a_study_names_is_not_looked_for(code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file lies where the process stands, under the very name, and nobody has named it."""
    monkeypatch.chdir(tmp_path)
    code.write_text(CODE + "\n# of nobody else\n")
    request = StudyRequest("loans", "default", module=read_source("net.py:build"))
    study = make_study(loans_table(seed=9), request, read_settings(None, ("model.kind='module'",)))
    with pytest.raises(InputError, match="this process has no file of it"):
        begin_study(study)
    with pytest.raises(InputError, match="whose code is not in the study"):
        provide_module(study, None)


def test_a_study_of_a_module_is_read_again(code: Path, tmp_path: Path) -> None:
    study = module_study(code)
    folder = write_study(tmp_path / "study", study)
    assert open_study(folder.path).study.digest == study.digest
    plain = make_study(loans_table(seed=9), StudyRequest("loans", "default"), read_settings(None, ()))
    assert b'"module":' not in plain.content
    with pytest.raises(InputError, match="names a file"):
        write_study(tmp_path / "second", replace(plain, module=study.module))


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("with_batch_norm", "has buffers, such as '0.running_mean'"),
        ("mixing", "mixes the rows of a batch"),
        ("wide", r"answers two rows with \(2, 2\)"),
        ("failing", "name 'undefined' is not defined"),
        ("no_module", "gives a int"),
        ("nobody", "has no 'nobody'"),
    ],
)
def test_a_module_that_a_study_cannot_learn_is_refused(code: Path, name: str, word: str) -> None:
    with pytest.raises(DeepseekError, match=word):
        begin_study(module_study(code, name))


@pytest.mark.parametrize("name", ["net.py", "net:build", "os:system", "net.py:a.b", "none.py:build"])
def test_what_names_no_file_is_refused(name: str) -> None:
    with pytest.raises(DeepseekError):
        read_source(name)


def test_a_file_for_a_study_without_a_module_is_refused(code: Path) -> None:
    plain = make_study(loans_table(seed=9), StudyRequest("loans", "default"), read_settings(None, ()))
    provide_module(plain, None)
    with pytest.raises(InputError, match="learns no torch module"):
        provide_module(plain, f"{code}:build")


def test_records_under_a_budget_are_learned_by_a_module(code: Path) -> None:
    pytest.importorskip("opacus", reason="needs the extra 'dp'")
    budget = ("budget.unit='record'", "budget.noise=2.0", "budget.epsilon=50", "budget.delta=1e-3",
              "rounds.num_rounds=2")  # fmt: skip
    study = module_study(code, "build", *budget)
    state = begin_study(study)
    answer = LocalParty.of(study, "ada", party_table("ada")).answer(state)
    assert answer.vector.shape == (ModuleObjective.of(study).num_parameters,)
    assert np.isfinite(answer.vector).all()
