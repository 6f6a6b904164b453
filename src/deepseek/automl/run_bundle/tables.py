"""A module that takes rows of numbers, as the files of a table's bundle: its columns go to it as they are."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deepseek.automl.run_bundle.answers import TableAnswers
from deepseek.automl.run_bundle.exported import ExportedModule
from deepseek.automl.run_bundle.options import RunBundleOptions
from deepseek.automl.run_bundle.rows import DataRows
from deepseek.automl.run_bundle.trained import TrainedRun
from deepseek.bundle import EngineEntry
from deepseek.compress.targets.export_module import MAX_RELATIVE_DIFFERENCE, PARITY_ROWS, export_module
from deepseek.contracts import Float32, Float64, Task
from deepseek.data import Preprocessor, Table
from deepseek.data.features.numerics import NumberEncoder
from deepseek.data.features.prepare import Column
from deepseek.data.view.card import make_card
from deepseek.engines import check_parity, export_onnx
from deepseek.engines.checks.edges import rows_with_missing_columns
from deepseek.engines.onnx import GRAPH, OnnxEngine
from deepseek.engines.registry import REFERENCE
from deepseek.engines.tabular.graph_part import GraphWeights
from deepseek.nn.model import Model, Part

CLIPPED = (
    "the module was trained on whole numbers: one beyond those of its training rows is read as the nearest of these"
)


def export_table(
    run: TrainedRun, options: RunBundleOptions, task: Task, target: str, training: DataRows
) -> ExportedModule:
    """The files of a bundle. InputError for a module that cannot be traced, or whose graph gives other answers on real
    rows, one row alone, zeros, and numbers far beyond; CheckError where its bundle's graph does."""
    rows = torch.from_numpy(training.inputs)
    answers = TableAnswers(run.module, task, rows)
    features = training.inputs.astype(np.float32)
    with tempfile.TemporaryDirectory(prefix="deepseek-export-") as folder:
        path = Path(folder) / GRAPH
        export_module(answers, torch.from_numpy(features[: max(PARITY_ROWS)]), path)
        graph = path.read_bytes()
    names = options.columns or column_names(run, features.shape[1])
    preprocessor = make_preprocessor(names, features, target, is_whole=answers.is_whole)
    num_margins = len(options.labels) if task == "multiclass" else 1
    typical = preprocessor.rows([preprocessor.example()]).features[0]
    model = Model(
        task, options.labels, "log-odds" if options.labels else "target units",
        (Part("module", GraphWeights.of(graph, typical)),), bias=(0.0,) * num_margins,
    )  # fmt: skip
    whole = export_onnx(model, features.shape[1])
    parity = check_parity(model, whole, features, missing=rows_with_missing_columns(preprocessor))
    engine = OnnxEngine(whole)

    def outputs(inputs: NDArray[Any]) -> Float64:
        return engine.score(inputs.astype(np.float32)).output.astype(np.float64)

    kinds = dict.fromkeys(names, "numeric")
    table = Table(
        {name: features[:, place].astype(np.float64) for place, name in enumerate(names)},
        {name: "number" for name in names},  # noqa: C420 - fromkeys forgets that it is one of the types
    )
    against_module = {"rows": list(PARITY_ROWS), "max_relative_difference": MAX_RELATIVE_DIFFERENCE}
    difference = parity.engines[REFERENCE].output_difference or 0.0
    return ExportedModule(
        inputs=preprocessor.inputs(), engine=EngineEntry(REFERENCE, GRAPH, difference, parity.num_rows),
        files={**model.to_files(), GRAPH: whole, "preprocess.json": preprocessor.to_bytes()},
        documents={
            "card.json": make_card(table, kinds, None), "example.json": preprocessor.example(),
            "evidence/parity.json": {**parity.to_dict(), "module": against_module},
        },
        kinds=kinds, outputs=outputs, warnings=(CLIPPED,) if answers.is_whole else (),
    )  # fmt: skip


def column_names(run: TrainedRun, num_columns: int) -> tuple[str, ...]:
    """Those of the Parquet file that the run was trained on, else x0, x1, ..."""
    data = run.job.data
    if data.train.endswith(".parquet"):
        from pyarrow import parquet

        names = [name for name in parquet.read_schema(run.home / data.train).names if name != data.target]
        if len(names) == num_columns:
            return tuple(names)
    return tuple(f"x{place}" for place in range(num_columns))


def make_preprocessor(names: tuple[str, ...], features: Float32, target: str, *, is_whole: bool) -> Preprocessor:
    """Each column as the number it is; one that is missing reads the lower median of the training rows, flagged."""
    ordered = np.sort(features, axis=0)
    medians = ordered[(len(ordered) - 1) // 2].astype(np.float64).tolist()
    columns = tuple(
        Column(name, "numeric", "number", NumberEncoder(median, whole=is_whole))
        for name, median in zip(names, medians, strict=True)
    )
    return Preprocessor(columns, ignored=(target,)).with_support(features)
