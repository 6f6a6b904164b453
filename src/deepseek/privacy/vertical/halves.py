"""The end of a vertical study: each house's half of the model as a bundle, and what both say together.

    half of a house      reads its columns, answers its partial score: an ordinary bundle of numbers
    vertical.json        what makes the sum of both scores an answer; of the house with the target alone

score = partial_score of one + partial_score of the other;  two classes: probability = sigmoid(slope * score + bias)
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from deepseek.automl import evidence
from deepseek.automl.pack import as_json
from deepseek.bundle import Bundle, EngineEntry, Lineage, Manifest, Output, now, write_bundle
from deepseek.bundle.fields import parse_json_object, parse_value
from deepseek.contracts import Figure, Float64, JsonObject, Task
from deepseek.engines import check_parity, export_onnx
from deepseek.engines.checks.edges import rows_with_missing_columns
from deepseek.engines.registry import REFERENCE
from deepseek.errors import CheckError, InputError
from deepseek.nn.dense import Perceptron
from deepseek.nn.model import Model, Part, sigmoid
from deepseek.privacy.bundles.pack import GRAPH, schema_rows
from deepseek.privacy.parties.inputs import joiner
from deepseek.privacy.study.definition import Study
from deepseek.privacy.study.vertical import (
    ROLES,
    WHAT_IS_SEEN,
    WHAT_LEAVES,
    HouseRole,
    half_study,
    other_role,
    vertical_columns,
)
from deepseek.privacy.vertical.house import House
from deepseek.train.tabular.calibrate import fit_slope
from deepseek.train.tabular.metrics import measure_figures

HALF = "vertical.json"
MARGIN_OF_SCORE = 10.0  # fit_slope() looks for slopes up to 20, and scores of classes lie within about 0 and 1


@dataclass(frozen=True, slots=True)
class HalfFacts:
    """vertical.json."""

    study: str  # sha256
    role: HouseRole
    party: str
    other_party: str
    task: Task
    target: str
    labels: tuple[str, ...]
    id_column: str
    id_kind: Literal["number", "text"]
    slope: float = 1.0  # from the sum of scores to log-odds, or to values
    bias: float = 0.0

    @classmethod
    def read(cls, bundle: Bundle) -> HalfFacts:
        """InputError for a bundle that is no half of a vertical study."""
        if HALF not in bundle.manifest.files:
            raise InputError(
                "the bundle is no half of a vertical study", expected=f"one with {HALF}, as serve and join write it",
                fix="give the half of this house",
            )  # fmt: skip
        facts: HalfFacts = parse_value(HalfFacts, parse_json_object(bundle.read(HALF), HALF), HALF)
        return facts

    def output(self, score: Float64) -> Float64:
        """Class probabilities (N, 2), or values (N, 1), of the sums of both scores (N,)."""
        margin = self.slope * score + self.bias
        if self.task == "regression":
            return np.asarray(margin[:, None], np.float64)
        positive = sigmoid(margin)
        return np.stack([1 - positive, positive], axis=1)


@dataclass(frozen=True, slots=True)
class JointFigures:
    """What the house with the target measures at the end, on rows that were held back from everything."""

    facts: HalfFacts
    metrics: dict[str, Figure]
    alone: dict[str, Figure]  # of its own columns alone, learned in as many rounds


def measure_joint(house: House) -> JointFigures:
    """Of the house with the target. CheckError before the end of the study."""
    split = house.split
    if not house.is_over:
        raise CheckError("the study is not over", expected="all of its steps", fix="wait for the other house")
    own = house.scores(split.held_rows) + house.target_mean
    facts, metrics = measure_scores(house, own + house.memory.other_scores)
    weights = house.learner.learn_alone(house.study.settings.rounds.num_rounds)
    alone = house.scaling.apply(house.shared_rows.inputs[split.held_rows]) @ weights + house.target_mean
    return JointFigures(facts, metrics, measure_scores(house, alone)[1])


def half_facts(house: House) -> HalfFacts:
    """Without what makes scores an answer."""
    study, columns = house.study, vertical_columns(house.study)
    return HalfFacts(
        study.digest, house.role, house.party(house.role).name, house.party(other_role(house.role)).name, study.task,
        study.target, study.labels, columns.id_column, columns.id_kind,
    )  # fmt: skip


def measure_scores(house: House, score: Float64) -> tuple[HalfFacts, dict[str, Figure]]:
    """Scores of the rows held back, calibrated by some and measured on the others."""
    study, split, target = house.study, house.split, house.shared_target
    facts, num = half_facts(house), len(split.calibration)
    if study.task == "binary":
        margin, known = MARGIN_OF_SCORE * (score[:num, None] - 0.5), target[split.calibration].astype(np.int64)
        fit = fit_slope(margin, known, np.ones(num), with_bias=True)
        slope = fit.slope * MARGIN_OF_SCORE
        facts = replace(facts, slope=slope, bias=fit.bias[0] - slope / 2)
        return facts, measure_figures(study.task, target[split.test], facts.output(score[num:]), seed=0)
    facts = replace(facts, slope=study.target_scale, bias=study.target_centre)
    truth = target[split.test] * study.target_scale + study.target_centre
    return facts, measure_figures(study.task, truth, facts.output(score), seed=0)


def half_model(house: House) -> Model:
    """A house's half, which reads prepared features and gives its partial score."""
    half, scaling = half_study(house.study, house.role), house.scaling
    weights = house.memory.weights / scaling.scale
    empty = joiner(half)
    perceptron = Perceptron(
        numeric=empty.numeric, centre=empty.centre, scale=empty.scale, codes=empty.codes, embeddings=empty.embeddings,
        weights=[weights[:, None].astype(np.float32)],
        biases=[np.array([house.target_mean - scaling.mean @ weights], np.float32)],
        skip=empty.skip, baseline=scaling.mean.astype(np.float32), logged=empty.logged, clip=empty.clip,
    )  # fmt: skip
    return Model("regression", (), "target units", (Part("linear", perceptron),), bias=(0.0,))


@dataclass(frozen=True, slots=True)
class HalfTarget:
    """Where a half goes."""

    out: Path
    key: Path | None = None  # private key that signs it
    overwrite: bool = False


def pack_half(
    house: House, target: HalfTarget, joint: JointFigures | None, *, comparison: JsonObject | None = None
) -> Bundle:
    """Write a house's half. `joint`: of the house with the target, what both say together."""
    half, model = half_study(house.study, house.role), half_model(house)
    rows = schema_rows(half)
    graph = export_onnx(model, rows.shape[1])
    parity = check_parity(model, graph, rows, missing=rows_with_missing_columns(half.preprocessor), kinds=(REFERENCE,))
    documents: dict[str, object] = {
        HALF: asdict(half_facts(house) if joint is None else joint.facts),
        "example.json": half.preprocessor.example(),
        "decision.json": {"threshold": None, "threshold_rule": None, "costs": None, "interval": None},
        "evidence/parity.json": parity.to_dict(),
        "evidence/environment.json": evidence.environment(None),
        "evidence/study.json": asdict(house.study),
        "evidence/transcript.json": house.transcript.to_dict(),
        "evidence/federation.json": vertical_report(house, joint, comparison or {}),
    }
    files = {**model.to_files(), GRAPH: graph, "preprocess.json": half.preprocess.encode()}
    files |= {name: as_json(document) for name, document in documents.items()}
    difference = parity.engines[REFERENCE].output_difference or 0.0
    manifest = _manifest(house.study, half, house.role, EngineEntry(REFERENCE, GRAPH, difference, parity.num_rows))
    return write_bundle(target.out, manifest, files, overwrite=target.overwrite, key=target.key)


def vertical_report(house: House, joint: JointFigures | None, comparison: JsonObject) -> JsonObject:
    """evidence/federation.json: who took part, what left each house in bytes and kind, what each has seen."""
    study, transcript, rounds = house.study, house.transcript, house.study.settings.rounds.num_rounds
    kinds = dict.fromkeys(record.kind for record in transcript.records)
    own = {} if joint is None else {"metrics": _plain(joint.metrics), "alone": {
        house.party("labels").name: {name: figure.value for name, figure in joint.alone.items()}}}  # fmt: skip
    return {
        "study": study.digest, "simulated": house.signer.key is None, "vertical": True, "role": house.role,
        "parties": [asdict(house.party(role)) for role in ROLES], "coordinator": None,
        "num_shared_rows": len(house.shared_rows), "num_training_rows": len(house.split.training),
        "what_left_each_house": {kind: WHAT_LEAVES[kind] for kind in kinds},
        "each_house_saw": {house.party(role).name: WHAT_IS_SEEN[role] for role in ROLES},
        "bytes_by_party": transcript.bytes_by_party(), "coordinator_saw": "nothing: there is none",
        "rounds_by_party": {house.party(role).name: rounds for role in ROLES},
        "figures": {} if joint is None else {name: figure.value for name, figure in joint.metrics.items()},
        "privacy": None, "comparison": own | comparison, "transcript_is_chained": transcript.is_chained(),
    }  # fmt: skip


def _plain(figures: dict[str, Figure]) -> JsonObject:
    return {name: asdict(figure) for name, figure in figures.items()}


def _manifest(study: Study, half: Study, role: HouseRole, engine: EngineEntry) -> Manifest:
    config: JsonObject = {"study": study.digest, **asdict(study.settings), "half": role}
    return Manifest(
        name=f"{study.name}-{role}", version="1", created=now(), task="regression", target=half.target,
        inputs=half.preprocessor.inputs(), outputs=(Output("value", "float32", ()),), labels=(), threshold=None,
        engines=(engine,), lineage=Lineage(
            parent=None, data=None, config=config, seed=study.settings.rounds.seed,
            versions=evidence.package_versions(),
        ),
    )  # fmt: skip
