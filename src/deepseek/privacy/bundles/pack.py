"""The end of a study: its parameters as a perceptron of nn.dense, exported, checked and packed like every other model.

Nobody has all rows here, so parity is checked on rows that are drawn from the study's schema, and the bundle has no
data card. The figures come from the parties' held-out rows.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from deepseek.automl import evidence
from deepseek.automl.pack import as_json
from deepseek.bundle import Bundle, EngineEntry, Lineage, Manifest, Output, now, write_bundle
from deepseek.contracts import Float32, JsonObject
from deepseek.engines import check_parity, export_onnx
from deepseek.engines.checks.edges import rows_with_missing_columns
from deepseek.engines.registry import REFERENCE
from deepseek.extras import need
from deepseek.nn.dense import Perceptron
from deepseek.nn.model import MarginScale, Model, Part
from deepseek.privacy.bundles.transcript import WHAT_LEAVES, PrivacySpent, Transcript
from deepseek.privacy.parties.inputs import joiner
from deepseek.privacy.parties.objective import Objective
from deepseek.privacy.parties.trees import TreeObjective
from deepseek.privacy.rounds.state import StudyState
from deepseek.privacy.study.definition import Study

GRAPH = "model.onnx"
NUM_PARITY_ROWS = 256


@dataclass(frozen=True, slots=True)
class StudyOutcome:
    """A finished study: its last state, and what is told of it."""

    study: Study
    state: StudyState
    transcript: Transcript
    figures: dict[str, float]  # on the held-out rows of all parties; empty under a budget
    spent: PrivacySpent | None = None
    comparison: JsonObject = field(default_factory=dict)  # of a simulation: each party alone, all data in one place
    is_simulated: bool = False


def finish_model(study: Study, state: StudyState) -> Model:
    """The model of a state, which reads prepared features: the standardization is folded into its first layer."""
    if study.tree_edges:
        table = TreeObjective.of(study).table(state.parameters)
        if study.task == "regression":
            scale = np.float32(study.target_scale)
            table = replace(table, leaves=table.leaves * scale, bias=np.full(1, study.target_centre))
        return _as_model(study, Part("trees", table))
    if study.module is not None:
        need("onnxscript", extra="compress")
        from deepseek.privacy.bundles.module_graph import module_weights

        return _as_model(study, Part(study.module.name, module_weights(study, state, schema_rows(study))))
    objective, standard = Objective.of(study), state.standardization
    layers = [(weight.copy(), bias.copy()) for weight, bias in objective.layers(state.parameters)]
    first, first_bias = layers[0]
    scaled = first / standard.spread[:, None]
    layers[0] = scaled, first_bias - standard.mean @ scaled
    if study.task == "regression":
        weight, bias = layers[-1]
        layers[-1] = weight * study.target_scale, bias * study.target_scale + study.target_centre
    empty = joiner(study)
    perceptron = Perceptron(
        numeric=empty.numeric, centre=empty.centre, scale=empty.scale, codes=empty.codes, embeddings=empty.embeddings,
        weights=[weight.astype(np.float32) for weight, _ in layers],
        biases=[bias.astype(np.float32) for _, bias in layers],
        skip=empty.skip, baseline=standard.mean.astype(np.float32), logged=empty.logged, clip=empty.clip,
    )  # fmt: skip
    return _as_model(study, Part(study.settings.model.kind, perceptron))


def _as_model(study: Study, part: Part) -> Model:
    scale: MarginScale = "log-odds" if study.labels else "target units"
    return Model(study.task, study.labels, scale, (part,), bias=(0.0,) * study.num_margins)


def schema_rows(study: Study) -> Float32:
    """Prepared features (N, F) drawn from the schema: numbers around those of the sample, any level of a category."""
    rng, scaling = np.random.default_rng(0), study.inputs
    typical = study.preprocessor.rows([study.preprocessor.example()]).features
    rows = np.repeat(typical, NUM_PARITY_ROWS, axis=0)
    for place, logged, centre, scale in zip(
        scaling.numeric, scaling.logged, scaling.centre, scaling.scale, strict=True
    ):
        if not logged and scale < np.finfo(np.float32).max:
            rows[:, place] = centre + scale * rng.normal(0, 1, len(rows))
    for place, levels in zip(scaling.codes, scaling.num_levels, strict=True):
        rows[:, place] = rng.integers(0, levels, len(rows))
    return rows


def pack_study(outcome: StudyOutcome, out: Path, *, key: Path | None = None, overwrite: bool = False) -> Bundle:
    """Write the bundle, signed where a private key is given. CheckError when the exported graph answers otherwise."""
    study, model = outcome.study, finish_model(outcome.study, outcome.state)
    rows = schema_rows(study)
    graph = export_onnx(model, rows.shape[1])
    missing = rows_with_missing_columns(study.preprocessor)
    parity = check_parity(model, graph, rows, missing=missing, kinds=(REFERENCE,))
    documents: dict[str, object] = {
        "example.json": study.preprocessor.example(),
        "decision.json": {"threshold": None, "threshold_rule": None, "costs": None, "interval": None},
        "evidence/parity.json": parity.to_dict(),
        "evidence/environment.json": evidence.environment(None),
        "evidence/study.json": asdict(study),
        "evidence/transcript.json": outcome.transcript.to_dict(),
        "evidence/federation.json": federation_report(outcome),
    }
    files = {**model.to_files(), GRAPH: graph, "preprocess.json": study.preprocess.encode()}
    files |= {name: as_json(document) for name, document in documents.items()}
    difference = parity.engines[REFERENCE].output_difference or 0.0
    engine = EngineEntry(REFERENCE, GRAPH, difference, parity.num_rows)
    return write_bundle(out, _manifest(outcome, engine), files, overwrite=overwrite, key=key)


def federation_report(outcome: StudyOutcome) -> JsonObject:
    """evidence/federation.json: who took part, what left their houses, what the coordinator saw, what is spent."""
    study, transcript = outcome.study, outcome.transcript
    protection, kinds = study.settings.protection, {record.kind for record in transcript.records}
    return {
        "study": study.digest,
        "simulated": outcome.is_simulated,
        "parties": [asdict(party) for party in study.parties],
        "coordinator": None if study.coordinator is None else asdict(study.coordinator),
        "what_left_each_house": {kind: WHAT_LEAVES[kind] for kind in sorted(kinds)},
        "bytes_by_party": transcript.bytes_by_party(),
        "coordinator_saw": "sums over parties alone" if protection.secure_sums else "the answer of each party",
        "rounds_by_party": _rounds_by_party(transcript),
        "figures": outcome.figures,
        "privacy": None if outcome.spent is None else asdict(outcome.spent),
        "comparison": outcome.comparison,
        "transcript_is_chained": transcript.is_chained(),
    }


def _rounds_by_party(transcript: Transcript) -> dict[str, int]:
    """In how many training rounds each party's update counts."""
    counts: dict[str, int] = {}
    for record in transcript.records:
        if record.kind == "training":
            for party in record.parties:
                counts[party] = counts.get(party, 0) + 1
    return dict(sorted(counts.items()))


def _manifest(outcome: StudyOutcome, engine: EngineEntry) -> Manifest:
    study = outcome.study
    classes = (Output("label", "str", ()), Output("probabilities", "float32", (len(study.labels),)))
    config: JsonObject = {"study": study.digest, **asdict(study.settings), "simulated": outcome.is_simulated}
    if outcome.spent is not None:
        config["privacy"] = asdict(outcome.spent)
    return Manifest(
        name=study.name, version="1", created=now(), task=study.task, target=study.target,
        inputs=study.preprocessor.inputs(), outputs=classes if study.labels else (Output("value", "float32", ()),),
        labels=study.labels, threshold=None, engines=(engine,),
        lineage=Lineage(
            parent=None, data=None, config=config, seed=study.settings.rounds.seed,
            versions=evidence.package_versions(),
        ),
    )  # fmt: skip
