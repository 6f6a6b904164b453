"""A new study from a sample that its maker may show to all parties.

study = make_study(sample_table, StudyRequest("cards", target="fraud"), settings)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from deepseek.bundle import now
from deepseek.bundle.sign import load_public_key
from deepseek.contracts import Float32
from deepseek.data import Preprocessor, Table, encode_target, find_kinds, fit_preprocessor, infer_task
from deepseek.errors import InputError
from deepseek.nn.dense import signed_log
from deepseek.privacy.study.definition import InputScaling, ModuleSource, Party, Study, VerticalColumns
from deepseek.privacy.study.settings import StudySettings
from deepseek.train.candidates.perceptron import is_skewed, robust_scale


@dataclass(frozen=True, slots=True)
class VerticalRequest:
    """Of a study of two houses with other columns of the same people: what joins them, and a sample of the second."""

    id_column: str
    sample: Table  # of the house without the target
    alignment: Literal["intersection", "same_ids"] = "intersection"


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
    vertical: VerticalRequest | None = None


def make_study(sample: Table, request: StudyRequest, settings: StudySettings) -> Study:
    """The study. InputError for a target or columns that cannot be learned from."""
    settings.check()
    info = infer_task(sample, request.target)
    kinds = find_kinds(sample, target=request.target)
    vertical = None if request.vertical is None else _vertical_columns(sample, request.vertical, request)
    join = () if vertical is None else (vertical.id_column,)
    drop = tuple(name for name in (*request.drop, *join) if vertical is None or name in sample.columns)
    preprocessor = fit_preprocessor(sample, kinds, target=request.target, drop=drop)
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
        module=request.module, vertical=vertical,
    )  # fmt: skip


def _vertical_columns(sample: Table, vertical: VerticalRequest, request: StudyRequest) -> VerticalColumns:
    """InputError for samples that cannot be joined: an id that one does not have, or of two kinds; columns of one name
    in both; a single column of the second house, which its scores would be."""
    name, other = vertical.id_column, vertical.sample
    kinds = {table.types[name] for table in (sample, other) if table.column(name) is not None}
    if len(kinds) > 1 or not kinds <= {"number", "text"}:
        raise InputError(
            f"the id {name!r} is {' and '.join(sorted(kinds))} in the samples",
            expected="whole numbers in both, or text in both", fix="write the ids alike in both houses",
        )  # fmt: skip
    both = sorted((set(sample.names) & set(other.names)) - {name})
    if both or request.target in other.columns:
        raise InputError(
            f"both houses have a column {', '.join(map(repr, both or [request.target]))}",
            expected="columns of one house each, and the target in the first alone", fix="rename it, or drop it",
        )  # fmt: skip
    drop = (name, *(each for each in request.drop if each in other.columns))
    preprocessor = fit_preprocessor(other, find_kinds(other, target=None), target="", drop=drop)
    if len(preprocessor.columns) < 2:
        raise InputError(
            f"the second house has the column {preprocessor.columns[0].name!r} alone",
            expected="at least two: the scores of a house with one column are that column", fix="bring another column",
        )  # fmt: skip
    return VerticalColumns(
        id_column=name, id_kind="text" if kinds == {"text"} else "number", alignment=vertical.alignment,
        preprocess=preprocessor.to_bytes().decode(),
        inputs=scale_inputs(preprocessor, preprocessor.table(other).features),
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
