"""What may stand where a model is named: a bundle, a Hugging Face folder, a file of ONNX or xgboost; how it is opened.

open_models(("credit=loans/v2", "./all-MiniLM"), None)["credit"]
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepseek.cli.support.cache import ONNX_FILE
from deepseek.files import cache_folder

if TYPE_CHECKING:
    from deepseek.bundle import Bundle
    from deepseek.engines import MultimodalRuntime, Runtime
    from deepseek.engines.text.tuning.gate import PrecisionGate
    from deepseek.serve.assistant.model import AssistantModel
    from deepseek.serve.models.detector import DetectorAdapter
    from deepseek.serve.models.graph import GraphAdapter
    from deepseek.serve.models.text import TextAdapter
    from deepseek.serve.openai.generation import GenerativeModel, ModelPrecision

    OpenedModel = (
        Runtime | MultimodalRuntime | TextAdapter | GraphAdapter | DetectorAdapter | GenerativeModel | AssistantModel
    )


def open_models(
    bundles: tuple[str | Path, ...],
    key: Path | None,
    *,
    lazy: bool = False,
    gate: PrecisionGate | None = None,
    llm_precision: ModelPrecision = "auto",
    open_more: Callable[[str, Path], OpenedModel | None] | None = None,
    operators_key: Path | None = None,
) -> dict[str, OpenedModel]:
    """Runtimes by the name that each is served under: the given one, else the bundle's own. `lazy`: without engines.
    `gate`: what lets text models run in less than float32; `llm_precision`: how those compute that write;
    `open_more`: opens what is no model of rows by its name and path, such as an assistant; None for others;
    `operators_key`: the public key of whom operators in machine code are taken from."""
    from deepseek.cli.support.opening_plain import is_plain, open_plain
    from deepseek.engines import Runtime, open_runtime
    from deepseek.errors import InputError

    models: dict[str, OpenedModel] = {}
    for bundle in bundles:
        name, path = split_name(str(bundle))
        check_exists(str(bundle), path)
        kind = model_kind(path)
        more = open_more(name, path) if open_more is not None and kind == "bundle" else None
        if more is not None:
            runtime: OpenedModel = more
        elif kind == "bundle" and is_plain(path):
            runtime = open_plain(path, key, operators_key)
        elif kind == "bundle":
            runtime = open_runtime(path, key=key, lazy=lazy)
            if gate is not None and isinstance(runtime, Runtime):
                runtime = apply_lossy_precision(runtime, gate, lazy=lazy)
        elif kind == "xgboost":
            runtime = Runtime(open_xgboost(path, key), lazy=lazy)
        else:
            runtime = open_folder(kind, name, path, key, gate, llm_precision)
        name = name or runtime.name
        if name in models:
            raise InputError(
                f"two bundles are named {name!r}", expected="a name for each", fix=f"name one of them: NAME={path}"
            )
        models[name] = runtime
    return models


def apply_lossy_precision(runtime: Runtime, gate: PrecisionGate, *, lazy: bool) -> Runtime:
    """The same bundle with the engines that the gate lets pass on this machine."""
    from deepseek.engines import Runtime
    from deepseek.engines.lossy_precision import choose_lossy_engines

    if gate.tolerance is None:
        return runtime
    choice = choose_lossy_engines(runtime, gate.tolerance, gate.rows, cache_folder() / "lossy")
    runtime.close()
    return Runtime(runtime.bundle, lazy=lazy, lossy=choice)


def model_kind(path: Path) -> str:
    """What stands at a path: a bundle, a file of xgboost, or a plain folder of a text model or of one that writes text.

    A path that is none of these is left to who opens bundles, who says what is wrong with it.
    """
    if not path.is_file() and ((path / "bundle.json").exists() or not (path / "config.json").is_file()):
        return "bundle" if (path / "bundle.json").exists() or not (path / ONNX_FILE).is_file() else "onnx"
    from deepseek.engines.text import describe

    return describe(path).kind


def refuse_key(path: Path, key: Path | None) -> None:
    """InputError when a signature is asked for, which only a bundle can have."""
    from deepseek.errors import InputError

    if key is not None:
        raise InputError(
            f"{path} is no bundle, so nobody has signed it", expected="a signed bundle", fix="serve it without --key"
        )


def warn_unchecked(bundle: Path, key: Path | None) -> None:
    """Say on stderr that a bundle which was opened without a key is signed."""
    from deepseek.bundle.paths import SIGNATURE
    from deepseek.bundle.read import UNCHECKED_SIGNATURE
    from deepseek.cli.support import output

    if key is None and (bundle / SIGNATURE).is_file():
        output.warn([f"{bundle}: {UNCHECKED_SIGNATURE}"])


def open_xgboost(path: Path, key: Path | None) -> Bundle:
    """A file of xgboost as a bundle in the cache, made once."""
    from deepseek.engines.tabular.xgboost_file import import_xgboost

    refuse_key(path, key)
    return import_xgboost(path, cache_folder() / "xgboost")


def open_folder(
    kind: str,
    name: str,
    path: Path,
    key: Path | None,
    gate: PrecisionGate | None = None,
    llm_precision: ModelPrecision = "auto",
) -> TextAdapter | GraphAdapter | GenerativeModel:
    """A model from a plain Hugging Face folder or an ONNX file, in float32 unless a gate lets something faster pass."""
    refuse_key(path, key)
    if kind == "onnx":
        return open_onnx(path, gate)
    if kind == "causal-lm":
        from deepseek.serve.openai.generation import GenerativeModel

        return GenerativeModel(name or path.resolve().name, path, cache_folder() / "llm", precision=llm_precision)
    # Its own threads would take the cores from the engines; a batch of sentences takes a millisecond without them.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from deepseek.engines.execution_mode import has_gpu
    from deepseek.engines.text import TextModel
    from deepseek.errors import DeepseekError
    from deepseek.extras import is_installed
    from deepseek.serve.models.text import TextAdapter

    model = TextModel.open(path)
    exact = TextAdapter(model, {"precision": "f32"})
    if gate is None and not (has_gpu() and is_installed("torch") and is_installed("transformers")):
        return exact
    from deepseek.engines.text.tuning.gate import PrecisionGate

    # What torch compiles lies there, too, and not in the folder for temporary files, which everybody may write to.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "torch"))
    try:
        choice = (gate or PrecisionGate(None, None, cache_folder() / "lossy")).choose(model)
    except DeepseekError:
        if gate is None:  # nobody has asked for more than what runs anywhere
            return exact
        raise
    return TextAdapter(model, choice.options, choice.table)


def open_onnx(path: Path, gate: PrecisionGate | None = None) -> GraphAdapter:
    """A graph by itself: a file, or a folder with a model.onnx. Named after the file, or after the folder."""
    from deepseek.bundle import check_name
    from deepseek.engines.onnx_file import open_file
    from deepseek.engines.onnx_file.rows import SUFFIX
    from deepseek.errors import InputError
    from deepseek.serve.models.graph import GraphAdapter

    name, file = (path.resolve().name, path / ONNX_FILE) if path.is_dir() else (path.stem, path)
    try:
        check_name(name)
    except InputError:  # which neither a route nor a folder can hold
        name = "model"
    cache = cache_folder() / "onnx"
    if gate is None:
        return GraphAdapter(open_file(file, cache), name)
    rows = gate.rows if gate.rows is not None and gate.rows.path.suffix == SUFFIX else None
    return GraphAdapter(open_file(file, cache, tolerance=gate.tolerance, rows=rows), name)


def parse_lossy_options(lossy: str | None, texts: Path | None, rows: Path | None = None) -> PrecisionGate | None:
    """What --lossy, --lossy-texts and --lossy-rows allow; nothing without them."""
    if lossy is None:
        for option, path in (("--lossy-texts", texts), ("--lossy-rows", rows)):
            if path is not None:
                raise click.UsageError(f"{option} says what to measure on: give --lossy with the limits, too")
        return None
    from deepseek.engines.onnx_file.rows import RowsFile
    from deepseek.engines.text.tuning.gate import PrecisionGate, parse_tolerance, read_texts

    return PrecisionGate(
        parse_tolerance(lossy),
        None if texts is None else read_texts(texts),
        cache_folder() / "lossy",
        None if rows is None else RowsFile.read(rows),
    )


def split_name(text: str) -> tuple[str, Path]:
    """NAME=PATH, or a path alone, which may hold '=' itself.

    >>> split_name("credit=loans/v2"), split_name("loans")
    (('credit', PosixPath('loans/v2')), ('', PosixPath('loans')))
    """
    name, equals, path = text.partition("=")
    if not equals or "/" in name or Path(text).exists():
        return "", Path(text)
    return name, Path(path)


def check_exists(text: str, path: Path) -> None:
    """Raise MissingError unless something is at the path that was given as `text`."""
    from deepseek.errors import MissingError

    is_empty = not text or (text.endswith("=") and path == Path())
    if is_empty or not os.path.lexists(path):
        raise MissingError(
            f"{text!r} names no path" if is_empty else f"there is no model at {path}",
            expected="a bundle, a plain Hugging Face folder, or the file of a model",
            fix="check the path; in a container it is the path inside, such as /models/NAME",
        )


def open_checked(
    path: Path, key: Path | None, *, lazy: bool, operators_key: Path | None = None
) -> Runtime | MultimodalRuntime | TextAdapter | GraphAdapter | DetectorAdapter:
    """A model of a repository, once every byte of its bundle was found to be what it says."""
    from deepseek.bundle import verify_bundle
    from deepseek.cli.support.opening_plain import is_plain, open_verified
    from deepseek.engines import open_runtime
    from deepseek.errors import InputError, IntegrityError

    kind = model_kind(path)
    if kind == "bundle":
        problems = verify_bundle(path, key=key)
        if problems:
            raise IntegrityError(
                f"{path.name} is not a whole bundle: {problems[0]}",
                expected="the files as their maker wrote them",
                fix="copy it again under another name, and rename it when it is whole",
            )
        if is_plain(path):
            return open_verified(path, key, operators_key)
        return open_runtime(path, key=key, lazy=lazy)
    if kind == "causal-lm":
        raise InputError(
            f"{path.name} writes text, and such models are not loaded while the server serves",
            expected="a bundle, or a folder of a model that reads text",
            fix=f"give it to the server when it starts: deepseek serve {path.name}=FOLDER",
        )
    return open_folder(kind, path.name, path, key)  # type: ignore[return-value]
