"""Opens a bundle of a model that reads no table: a graph or a text model, as `compress` writes them, or a detector.

    open_plain(Path("small"), None).name

Every byte is held to the manifest first. It computes in the engine in which it was judged, where that is there.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from deepseek.bundle import Manifest, open_bundle, verify_bundle
from deepseek.bundle.manifest import PLAIN_TASKS
from deepseek.errors import InputError, IntegrityError

if TYPE_CHECKING:
    from deepseek.engines.onnx_file import OnnxFile
    from deepseek.serve.models.detector import DetectorAdapter
    from deepseek.serve.models.graph import GraphAdapter
    from deepseek.serve.models.text import TextAdapter

RANGES = "int8.safetensors"  # beside the weights of a text model


def is_plain(path: Path) -> bool:
    """Whether the bundle at `path` reads no table. Errors as those of open_bundle()."""
    return open_bundle(path).manifest.task in PLAIN_TASKS


def open_plain(
    path: Path, key: Path | None, operators_key: Path | None = None
) -> TextAdapter | GraphAdapter | DetectorAdapter:
    """IntegrityError for a bundle that is not whole, or not signed by `key` where one is given. `operators_key`: the
    public key of whom machine code is taken from."""
    check_whole(path, key)
    return open_verified(path, key, operators_key)


def check_whole(path: Path, key: Path | None) -> None:
    """Every byte is held to the manifest. IntegrityError names the first that is not what it says."""
    open_bundle(path, key=key)  # what it raises says more of a folder that holds no bundle
    problems = verify_bundle(path, key=key)
    if problems:
        raise IntegrityError(
            f"{path} is not a whole bundle: {problems[0]}",
            expected="the files as their maker wrote them",
            fix="take an unharmed copy, or make it again",
        )


def open_verified(
    path: Path, key: Path | None, operators_key: Path | None = None
) -> TextAdapter | GraphAdapter | DetectorAdapter:
    """A bundle whose bytes were checked."""
    bundle = open_bundle(path, key=key)
    manifest = bundle.manifest
    if manifest.task == "intents":
        raise InputError(
            f"{path} understands questions, and is not served as a model of rows",
            expected="a bundle of another recipe", fix=f"ask it: deepseek predict {path} QUESTIONS.csv",
        )  # fmt: skip
    if manifest.task == "review":
        raise InputError(
            f"{path} judges documents by a checklist, which is not served",
            expected="a bundle that answers rows, texts or pictures", fix=f"deepseek review {path} CONTRACT.pdf",
        )  # fmt: skip
    if manifest.task == "detection":
        from deepseek.engines.detector.runtime import DetectorRuntime
        from deepseek.serve.models.detector import DetectorAdapter

        return DetectorAdapter(DetectorRuntime(bundle, lazy=True))
    is_graph = manifest.task == "tensors"
    model = _open_graph(path, manifest, operators_key) if is_graph else _open_text(path, manifest)
    model.name = manifest.name
    model.version = manifest.version
    model.bundle_signature = "good" if is_graph and model.spec.get("operators") else bundle.signature
    model.card = replace(model.card, digest=manifest.digest, created=manifest.created)
    return model


def _open_graph(path: Path, manifest: Manifest, operators_key: Path | None) -> GraphAdapter:
    from deepseek.cli.support.cache import ONNX_FILE
    from deepseek.engines.onnx_file import open_file
    from deepseek.engines.onnx_file.engine import INT8_KINDS, available_kinds
    from deepseek.engines.onnx_file.operators import open_operators
    from deepseek.files import cache_folder
    from deepseek.serve.models.graph import GraphAdapter

    operators = open_operators(path, operators_key)
    file = open_file(path / ONNX_FILE, cache_folder() / "onnx", operators=operators)
    _check_ends(manifest, file)
    judged = [entry.kind for entry in manifest.engines]
    if judged and judged[0] not in INT8_KINDS and judged[0] in available_kinds(file.signature, lossy=True):
        file = file.with_engine(judged[0])
    return GraphAdapter(file, manifest.name)


def _check_ends(manifest: Manifest, file: OnnxFile) -> None:
    """IntegrityError unless the graph has the inputs and outputs that bundle.json promises."""
    for what, promised, actual_ends in (
        ("inputs", manifest.inputs, file.signature.inputs), ("outputs", manifest.outputs, file.signature.outputs),
    ):  # fmt: skip
        stated, actual = ([(each.name, each.dtype) for each in ends] for ends in (promised, actual_ends))
        if stated != actual:
            raise IntegrityError(
                f"bundle.json and model.onnx differ: the one has the {what} {stated}, the other {actual}",
                expected="the same in both",
                fix="take an unharmed copy, or make it again",
            )


def _open_text(path: Path, manifest: Manifest) -> TextAdapter:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from deepseek.engines.text import TextModel
    from deepseek.serve.models.text import TextAdapter

    kind = manifest.engines[0].kind if manifest.engines else "openvino-f32"
    options: dict[str, object] = {"precision": kind.removeprefix("openvino-")}
    if kind == "openvino-int8":
        options["ranges"] = (path / RANGES).read_bytes()
    return TextAdapter(TextModel.open(path), options)
