"""A new study from a sample that its maker may show to all parties.

study = make_study(sample_table, StudyRequest("cards", target="fraud"), settings)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepseek.bundle import now
from deepseek.bundle.sign import load_public_key
from deepseek.contracts import Float32
from deepseek.data import Preprocessor, Table, encode_target, find_kinds, fit_preprocessor, infer_task
from deepseek.errors import InputError
from deepseek.nn.dense import signed_log
from deepseek.privacy.study.definition import InputScaling, ModuleSource, Party, Study
from deepseek.privacy.study.settings import StudySettings
from deepseek.train.candidates.perceptron import is_skewed, robust_scale


@dataclass(frozen=True, slots=True)
class StudyRequest:
    """What a study is for, beside its settings."""

    name: str
    target: str
    drop: tuple[
        str, ...
    ] = ()  # columns that no party uses: those that name a person, and those that say who owns a row
    parties: tuple[Party, ...] = ()  # none: the study can be simulated, not served
    coordinator: Party | None = None
    module: ModuleSource | None = None  # of model.kind = "module"


def make_study(sample: Table, request: StudyRequest, settings: StudySettings) -> Study:
    """The study. InputError for a target or columns that cannot be learned from."""
    settings.check()
    info = infer_task(sample, request.target)
    kinds = find_kinds(sample, target=request.target)
    preprocessor = fit_preprocessor(sample, kinds, target=request.target, drop=request.drop)
    centre, scale = 0.0, 1.0
    if info.task == "regression":
        values = encode_target(sample, request.target, ())
        centre, scale = float(values.mean()), float(values.std()) or 1.0
    batch = preprocessor.table(sample)
    if settings.model.kind == "trees" and info.task == "multiclass":
        raise InputError(
            f"the target {request.target!r} has {len(info.labels)} classes, and the model is trees",
            expected="two classes, or numbers", fix='set model.kind = "perceptron"',
        )  # fmt: skip
    return Study(
        name=request.name, created=now(), target=request.target, task=info.task, labels=info.labels,
        target_centre=centre, target_scale=scale, preprocess=preprocessor.to_bytes().decode(),
        inputs=scale_inputs(preprocessor, batch.features), settings=settings,
        parties=request.parties, coordinator=request.coordinator, tree_edges=_tree_edges(batch.features, settings),
        module=request.module,
    )  # fmt: skip


def scale_inputs(preprocessor: Preprocessor, features: Float32) -> InputScaling:
    """How the prepared features (N, F) of the sample enter: a skewed number twice, as it is and by its logarithm."""
    kinds = preprocessor.features
    codes = [place for place, feature in enumerate(kinds) if feature.kind == "code"]
    numeric = [place for place, feature in enumerate(kinds) if feature.kind != "code"]
    skewed = [
        place for place in numeric if kinds[place].kind in ("numeric", "datetime") and is_skewed(features[:, place])
    ]
    logged = np.array([False] * len(numeric) + [True] * len(skewed), np.bool_)
    places = numeric + skewed
    centre, scale = np.zeros(0, np.float32), np.ones(0, np.float32)
    if places:
        centre, scale = robust_scale(signed_log(features[:, places], logged).astype(np.float64))
    return InputScaling(
        numeric=tuple(places), logged=tuple(logged.tolist()), centre=tuple(centre.tolist()),
        scale=tuple(scale.tolist()), codes=tuple(codes), num_levels=tuple(kinds[place].num_levels for place in codes),
    )  # fmt: skip


def _tree_edges(features: Float32, settings: StudySettings) -> tuple[tuple[float, ...], ...]:
    """Where the bins of each prepared feature of the sample (N, F) are cut: between its values where they are few, else
    at quantiles, which are evenly spread by their log-odds: what is rare in the sample is often what matters. Nothing
    without trees."""
    trees = settings.model.trees
    if trees is None:
        return ()
    edges = []
    for column in features.T:
        values = np.unique(column[np.isfinite(column)])
        if len(values) > trees.num_bins:
            log_odds = np.linspace(-1, 1, trees.num_bins) * np.log(len(column))
            values = np.unique(np.quantile(column, 1 / (1 + np.exp(-log_odds)), method="nearest"))
        middles = (values[1:].astype(np.float64) + values[:-1]) / 2
        edges.append(tuple(np.unique(middles.astype(np.float32)).astype(np.float64).tolist()))
    return tuple(edges)


def public_key_text(path: Path) -> str:
    """The public key in a PEM file, in hexadecimal. InputError when it is none."""
    return load_public_key(path).public_bytes_raw().hex()
