"""A bundle that finds defects as a compression target: its graph in int8, and the rest as it was.

    int8                   weights, and activations by the range that calibration pictures show; the last convolutions
                           and what makes boxes of their answers stay exact, for a box is as exact as its sides
    int8-but-activations   weights alone: no faster, tried where the first loses too much

    target = DetectorTarget.open(Path("line3"), Path("held/boxes.csv"))     # pictures below the labels' folder

Judged is what is decided of each picture: its class, or that it is good. The threshold stays, and so does no promise:
the compressed bundle has other scores, and its detector.json promises nothing of misses until `recipe defects` has held
parts judged again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepseek.bundle import EngineEntry, Manifest, now
from deepseek.compress.targets.evaluator import Evaluator, split_rows
from deepseek.compress.targets.target import GIVEN, Backend, Plan, Variant, make_int8_variant
from deepseek.contracts import Arrays, Float64
from deepseek.data.labels import LabelSet, read_labels
from deepseek.data.labels.pictures import PictureStore
from deepseek.engines.detector.config import CONFIG, GRAPH
from deepseek.engines.detector.inspection import InspectionModel
from deepseek.engines.detector.runtime import DetectorRuntime, open_model
from deepseek.engines.int8 import quantize_int8
from deepseek.errors import InputError
from deepseek.extras import need

WEIGHTS_ALONE = "int8-but-activations"
PLACES = "places"  # the only array: which pictures


class DetectorTarget:
    """CompressionTarget of a bundle of `recipe defects` that needs no reference picture."""

    kind = "bundle"

    def __init__(self, runtime: DetectorRuntime, store: PictureStore, labels: LabelSet, digest: str, seed: int) -> None:
        self.runtime, self.manifest, self.seed, self.data_digest = runtime, runtime.manifest, seed, digest
        self.name = self.manifest.name
        self.digest = f"{self.manifest.digest} {digest} {seed} calibrated"
        self._store = store
        calibration, evaluation = split_rows(len(labels.pictures), seed)
        self._calibration = labels.take(calibration.tolist())
        self._labels = labels.take(evaluation.tolist())
        self.evaluator = Evaluator.labels(self._truth(), seed)
        self._size_bytes = len(runtime.bundle.read(GRAPH))
        self.original = Variant(GIVEN, runtime.bundle.path, self._size_bytes)

    @classmethod
    def open(cls, path: Path, data: Path, *, seed: int = 0) -> DetectorTarget:
        """Open a bundle and labels, whose pictures lie beside them. InputError for a bundle that compares parts with
        references, and what the readers raise."""
        import hashlib
        import json

        from deepseek.data.labels import to_coco

        runtime = DetectorRuntime.open(path)
        if runtime.config.template is not None:
            raise InputError(
                f"{path} compares parts with reference pictures, and its net is small already",
                expected="a detector or one of good parts", fix="serve it as it is",
            )  # fmt: skip
        labels = read_labels(data, data.parent)
        digest = hashlib.sha256(json.dumps(to_coco(labels), sort_keys=True).encode()).hexdigest()
        return cls(runtime, PictureStore(data.parent, runtime.image_reader), labels, digest, seed)

    def methods(self) -> tuple[str, ...]:
        return ("int8",)

    def plans(self, methods: Sequence[str]) -> list[Plan]:
        return [Plan((name,)) for method in methods for name in (method, WEIGHTS_ALONE)]

    def make(self, plan: Plan, folder: Path) -> Variant:
        graph = self.runtime.bundle.read(GRAPH)
        if plan.name == WEIGHTS_ALONE:
            return make_int8_variant(plan, folder, graph, GRAPH)
        pictures = [each.file for each in self._calibration.pictures]
        exact, out = last_nodes(graph), folder / GRAPH
        with tempfile.TemporaryDirectory(prefix="deepseek-int8-") as scratch:
            source = Path(scratch) / GRAPH
            source.write_bytes(graph)
            quantize_int8(source, out, self._calls(pictures), exact=exact)
        notes = (
            f"activations by {len(pictures)} pictures",
            f"the last {len(exact)} nodes are exact",
        )
        return Variant(plan.name, folder, out.stat().st_size, notes)

    def _calls(self, files: Sequence[str]) -> Iterator[Arrays]:
        for file in files:
            for view in self.runtime.config.views(self._store.read(file)):
                yield {"pictures": view.pixels[None]}

    def _read(self, variant: Variant, name: str) -> bytes:
        """A file of a variant: its graph is its own, all else is the bundle's."""
        path = variant.folder / name
        return path.read_bytes() if path.is_file() else self.runtime.bundle.read(name)

    def backends(self, variant: Variant) -> list[Backend]:
        model: InspectionModel = self.runtime
        if variant.name != GIVEN:
            model = open_model(partial(self._read, variant), self.runtime.config)

        def run(arrays: Arrays) -> Float64:
            return np.stack([self._decision(model, int(place)) for place in arrays[PLACES]])

        return [Backend("onnxruntime", True, run, lambda: None)]

    def outputs(self, backend: Backend, num_rows: int | None = None) -> NDArray[Any]:
        size = self.evaluator.num_rows if num_rows is None else num_rows
        outputs: NDArray[Any] = backend.run({PLACES: np.arange(size)})
        return outputs

    def rows(self, number: int, batch: int) -> Arrays:
        return {PLACES: np.arange(number * batch, (number + 1) * batch) % self.evaluator.num_rows}

    def describe(self, variant: Variant, engine: str) -> tuple[Manifest, Mapping[str, bytes]]:
        bundle = self.runtime.bundle
        config = replace(self.runtime.config, max_miss=None, confidence=None)
        lineage = replace(
            self.manifest.lineage, parent=self.manifest.digest, data=self.data_digest, seed=self.seed,
            config={**self.manifest.lineage.config, "compress": variant.name},
        )  # fmt: skip
        manifest = replace(
            self.manifest, created=now(), lineage=lineage, files={}, digest="",
            engines=(EngineEntry(engine, GRAPH, 0.0, self.evaluator.num_rows),),
        )  # fmt: skip
        kept = [
            name for name in self.manifest.files if not name.startswith("evidence/") and name not in (GRAPH, CONFIG)
        ]
        files = {name: bundle.read(name) for name in kept}
        return manifest, files | {CONFIG: config.to_bytes(), GRAPH: (variant.folder / GRAPH).read_bytes()}

    def close(self) -> None:
        self.runtime.close()

    def _truth(self) -> NDArray[np.int64]:
        """(N,) the class of each picture as a place in the bundle's classes; their number where it is good. A bundle of
        good parts knows one class of what is unlike them."""
        classes = self.runtime.config.classes
        return np.array([
            len(classes) if not each.is_defective
            else classes.index(each.picture_class) if each.picture_class in classes else 0
            for each in self._labels.pictures
        ], np.int64)  # fmt: skip

    def _decision(self, model: InspectionModel, place: int) -> Float64:
        """(K + 1,) the scores of the classes, and the threshold as that of a good part."""
        seen = model.inspect(self._store.read(self._labels.pictures[place].file))
        scores: Float64 = np.append(seen.class_scores.astype(np.float64), self.runtime.config.threshold)
        return scores


def last_nodes(graph: bytes) -> list[str]:
    """Names of the nodes of a graph behind which no convolution follows: the last convolutions and all that reads
    them."""
    nodes = need("onnx", extra="compress").load_from_string(graph).graph.node
    read_before_convolution: set[str] = set()
    last = []
    for node in reversed(nodes):
        leads_on = any(name in read_before_convolution for name in node.output)
        if leads_on or node.op_type == "Conv":
            read_before_convolution.update(node.input)
        if not leads_on:
            last.append(str(node.name))
    return last
