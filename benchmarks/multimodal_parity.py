"""How far one sample on the serving path lies from the same sample on the training path."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from multimodal_data import digit_records, digits, preparer
from multimodal_digits import CORRUPTED, DIGITS, THREE, fitted

from deepseek.contracts import Tensors
from deepseek.data.samples.preparer import SamplePreparer, Samples
from deepseek.engines.multimodal.runtime import export_multimodal, run_graph
from deepseek.nn.multimodal import CalibratedNet, array_names

NUM_SAMPLES = 100


def parity_of(seed: int) -> dict[str, float]:
    """Largest difference of a chance: one record at a time, by readers from JSON and the ONNX graph, against the module
    that was trained and arrays that were decoded together."""
    train = digits(CORRUPTED, num_rows=500, seed=seed, part="train")
    test = digits(CORRUPTED, num_rows=NUM_SAMPLES, seed=seed, part="test")
    records, _ = digit_records(CORRUPTED, num_rows=NUM_SAMPLES, seed=seed, part="test")
    net = fitted(THREE, train, replace(DIGITS, epochs=2), seed)
    answering, names = CalibratedNet(net).eval(), array_names(net.names)
    with torch.inference_mode():
        wanted = answering(*(torch.from_numpy(test.arrays[name]) for name in names))[1].numpy()
    graph = export_multimodal(answering, Samples(Tensors(test.arrays)[:2]), names)
    serving = SamplePreparer.from_bytes(preparer().to_bytes())
    served = np.concatenate([
        run_graph(graph, serving.rows([record]).arrays, np.zeros(1, np.int64))["output"] for record in records
    ])  # fmt: skip
    return {"difference": float(np.abs(served - wanted).max())}
