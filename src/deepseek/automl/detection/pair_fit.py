"""Labelled parts with their reference pictures -> a trained PairNet and its graph."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from deepseek.automl.detection.fitted import GRAPH, FittedModel
from deepseek.automl.detection.options import DetectionOptions
from deepseek.automl.detection.references import ReadReference
from deepseek.contracts import JsonObject
from deepseek.data.labels.labeled_picture import LabelSet
from deepseek.data.labels.pictures import PictureStore
from deepseek.engines.detector.config import DetectorConfig
from deepseek.engines.export_torch import export_torch_module
from deepseek.engines.onnx import open_session
from deepseek.errors import CheckError
from deepseek.train.detect.templates import PairExample, PairFitConfig, collect, train_pair_net

TOLERANCE = 1e-3
OUTPUTS = ("probabilities", "deltas")


def fit_pairs(
    store: PictureStore, labels: LabelSet, config: DetectorConfig, options: DetectionOptions, reference: ReadReference
) -> FittedModel:
    """InputError where no part differs from its reference."""

    def read_pairs() -> Iterator[PairExample]:
        for place, each in enumerate(labels.pictures):
            numbers = np.array(labels.class_numbers(place), np.int64)
            yield PairExample(store.read(each.file), reference(each.file), each.boxes, numbers)
            options.progress(
                f"{place + 1} of {len(labels.pictures)} pairs compared", 0.4 * (place + 1) / len(labels.pictures)
            )

    start_s = time.process_time()
    examples = collect(read_pairs(), len(config.classes), seed=options.seed)
    fit = PairFitConfig(budget_s=options.budget_s, max_steps=min(6_000, options.max_steps), seed=options.seed)
    net = train_pair_net(
        examples, len(config.classes), fit,
        lambda message, share: options.progress(f"training: {message}", 0.4 + 0.5 * share),
    )  # fmt: skip
    cpu_s = time.process_time() - start_s
    graph, parity = _export(net, examples.crops[:32])
    training: JsonObject = {
        "cpu_s": cpu_s, "num_candidates": len(examples.crops), "num_labels": examples.num_labels,
        "num_labels_without_candidate": examples.num_without_candidate,
    }  # fmt: skip
    return FittedModel({GRAPH: graph}, config, training, parity)


def _export(net: Any, crops: np.ndarray[Any, Any]) -> tuple[bytes, float]:
    """The graph, and its largest difference to torch. CheckError above TOLERANCE."""
    import torch

    sample = torch.from_numpy(np.resize(crops, (2, *crops.shape[1:])))
    with torch.no_grad():
        model = export_torch_module(
            net.requires_grad_(False), (sample,), input_names=["crops"], output_names=OUTPUTS,
            dynamic_shapes=({0: torch.export.Dim("rows", min=1)},),
        )  # fmt: skip
        expected = net(torch.from_numpy(crops))
    graph: bytes = model.SerializeToString()
    actual = open_session(graph, GRAPH, num_threads=1).run(list(OUTPUTS), {"crops": crops})
    parity = max(float(np.abs(one.numpy() - other).max()) for one, other in zip(expected, actual, strict=True))
    if not parity <= TOLERANCE:
        raise CheckError(
            f"the exported graph differs from the net by {parity:.2g}", expected=f"at most {TOLERANCE:g}",
            fix="report it: this is a fault of the exporter",
        )  # fmt: skip
    return graph, parity
