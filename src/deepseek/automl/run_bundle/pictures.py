"""A module that takes pictures, as the files of a bundle that reads picture files: decoded, scaled to the module's
size, and given to it as it was trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deepseek.automl.run_bundle.answers import PictureNet
from deepseek.automl.run_bundle.exported import ExportedModule, class_targets, prior_outputs
from deepseek.automl.run_bundle.options import RunBundleOptions
from deepseek.automl.run_bundle.rows import DataRows
from deepseek.automl.run_bundle.trained import TrainedRun
from deepseek.bundle import EngineEntry
from deepseek.bundle.agreement import SAMPLES
from deepseek.compress.targets.export_module import untraceable_in_words
from deepseek.contracts import Float64, Task, Tensors
from deepseek.data.media.image import ImageReader
from deepseek.data.samples.preparer import PRESENT_SUFFIX, MediaColumn, SamplePreparer, Samples
from deepseek.engines.multimodal.runtime import (
    GRAPH,
    PARITY_BATCH_SIZES,
    check_multimodal_parity,
    export_multimodal,
    run_graph,
)
from deepseek.errors import InputError
from deepseek.nn.multimodal import CalibratedNet, array_names

SLACK = 0.01  # by which pixels may lie beyond 0 and 1: augmentation and rounding


def export_pictures(
    run: TrainedRun, options: RunBundleOptions, task: Task, target: str, training: DataRows
) -> ExportedModule:
    """The files of a bundle. InputError for a module that cannot be traced and for pixels of another scale than is
    stated; CheckError for a graph that gives other answers on real pictures, one alone, black, white, the least and the
    largest pixels, and a picture that is missing."""
    name = (options.columns or ("image",))[0]
    prior = prior_outputs(class_targets(training.target, len(options.labels)), len(options.labels))
    bias = torch.tensor(np.log(prior) if options.labels else prior, dtype=torch.float32)
    scaling = _scaling(options, training.inputs)
    net = PictureNet(run.module, name, bias, scale=scaling.scale, mean=scaling.mean, std=scaling.std)

    def samples_of(inputs: NDArray[Any]) -> Samples:
        pixels = _to_bytes(net, inputs)
        return Samples(Tensors({name: pixels, name + PRESENT_SUFFIX: np.ones(len(pixels), bool)}))

    answering = CalibratedNet(net)
    names, samples = array_names(net.names), samples_of(training.inputs[: max(PARITY_BATCH_SIZES)])
    with untraceable_in_words():
        graph = export_multimodal(answering, Samples(samples.tensors[:2]), names)
    parity = check_multimodal_parity(answering, graph, samples, names)
    channels, *size = options.shape
    reader = ImageReader((size[0], size[1]), channels)
    preparer = SamplePreparer((MediaColumn(name, "image", reader),), None, ignored=(target,))

    def outputs(inputs: NDArray[Any]) -> Float64:
        return run_graph(graph, samples_of(inputs).arrays, np.arange(len(inputs)))["output"].astype(np.float64)

    calibration = {"slope": 1.0, "bias": [0.0] * (len(prior) if task == "multiclass" else 1)}
    return ExportedModule(
        inputs=preparer.inputs(), engine=EngineEntry("onnxruntime", GRAPH, parity.max_difference, parity.num_rows),
        files={SAMPLES: preparer.to_bytes(), GRAPH: graph},
        documents={
            "model.json": {
                "kind": "module", "modalities": [name], "calibration": calibration, "prior": prior.tolist(),
            },
            "example.json": {name: None}, "evidence/parity.json": parity.to_dict(),
        },
        kinds={name: "image"}, outputs=outputs,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class PixelScaling:
    """How a module takes pixels: (byte / scale - mean) / std; bytes themselves where `scale` is None."""

    scale: float | None
    mean: torch.Tensor  # (C, 1, 1), or (1, 1, 1) for all channels
    std: torch.Tensor


def _scaling(options: RunBundleOptions, inputs: NDArray[Any]) -> PixelScaling:
    """How the module of the run takes pixels. InputError where the run's own do not fit."""
    is_whole = inputs.dtype.kind in "iu"
    if options.pixels == "byte" or (options.pixels is None and is_whole):
        scale, mean, std = None if is_whole else 1.0, torch.zeros(1, 1, 1), torch.ones(1, 1, 1)
        pixels, most = inputs.astype(np.float64) / 255, "255"
    else:
        scale = 255.0
        mean, std = (
            torch.tensor(values or default, dtype=torch.float32).reshape(-1, 1, 1)
            for values, default in ((options.mean, (0.0,)), (options.std, (1.0,)))
        )
        pixels, most = inputs * std.numpy() + mean.numpy(), "1"
    if pixels.min() < -SLACK or pixels.max() > 1 + SLACK:
        raise InputError(
            f"the run's pictures hold numbers from {inputs.min():.3g} to {inputs.max():.3g}",
            expected=f"pixels from 0 to {most}" + (" after mean and std" if options.mean or options.std else ""),
            fix="say how they were scaled: --pixels byte, or --mean and --std as in training",
        )
    return PixelScaling(scale, mean, std)


def _to_bytes(net: PictureNet, inputs: NDArray[Any]) -> NDArray[np.uint8]:
    """Pictures as the run's data has them, as a decoder gives them: the inverse of PictureNet.prepare()."""
    if net.scale is None:
        return inputs.astype(np.uint8)
    unit = (inputs * net.std.numpy() + net.mean.numpy()) * net.scale
    return np.asarray(np.clip(np.rint(unit), 0, 255), np.uint8)
