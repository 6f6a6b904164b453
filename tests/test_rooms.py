"""Who may import whom: a room imports only rooms listed above it, and the base install never needs an extra."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

import deepseek
from support.sources import nodes_of, tree_of

SRC = Path(deepseek.__file__).parent
#: In the order in which data flows. A room imports only what stands above it.
ORDER = """
    version telemetry moved cores errors http_errors null_words operating_point contracts results plugins config extras
    files running page_server
    look bundle data dialogue features nn optimizers train engines compress client bench serve observe explain citations
    automl privacy integrations sklearn recipes learn cli
"""
ROOMS = tuple(ORDER.split())
#: Modules that are not in the base install. A file that imports one at its top may only be imported inside functions.
EXTRAS = """
    torch sklearn pandas pyarrow xgboost onnx onnxruntime optuna uvloop httptools msgspec orjson prometheus_client
    catboost lightgbm
    cryptography scipy threadpoolctl grpc google openvino tokenizers openvino_genai openvino_tokenizers ray nncf
    multipart torch_pruning torchvision transformers onnxscript PIL matplotlib
    av nibabel pydicom soundfile soxr numba
    nats redis pyflink
    grafana_foundation_sdk pynvml yaml pycocotools
    opentelemetry elasticsearch
    cn2an dateparser phonenumbers price_parser
    pypdfium2 docx lxml rapidocr
    Crypto httpx opacus starlette tenseal uvicorn
    jax tensorflow
"""
HEAVY = frozenset(EXTRAS.split())
#: What a room's own door may import: it is opened by cli/NAME.py alone, after extras.need has looked.
OWN = {"deepseek.serve": {"msgspec", "orjson"}}
BASE = frozenset(["click", "markdown_it", "numpy", "rich", "safetensors"])
FILES = sorted(SRC.rglob("*.py"))


def name_of(path: Path) -> str:
    parts = ["deepseek", *path.relative_to(SRC).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.AST, *, at_top: bool) -> Iterator[str]:
    """Names of imported modules: those run when the file itself is imported, or all of them."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # `from deepseek.nn import model` may name a module or an attribute: both are looked at.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            if not at_top:
                yield from imports(node, at_top=False)
        elif not isinstance(node, ast.expr) and not (
            at_top and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ):
            yield from imports(node, at_top=at_top)


@functools.cache
def modules_of(path: Path, *, at_top: bool) -> tuple[str, ...]:
    """The modules that a file imports when it is imported itself, or all of them."""
    return tuple(imports(tree_of(path), at_top=at_top))


def room_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "deepseek" and len(parts) > 1 and parts[1] in ROOMS else None


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_rooms_above_it(room: str) -> None:
    """The package's own __init__ and __main__ are in no room: they are the two doors."""
    allowed = set(ROOMS[: ROOMS.index(room) + 1])
    for path in FILES:
        if room_of(name_of(path)) == room:
            used = {other for module in modules_of(path, at_top=False) if (other := room_of(module))}
            assert used <= allowed, f"{path.relative_to(SRC)} may not import {', '.join(sorted(used - allowed))}"


def loads(start: str, seen: dict[str, str]) -> dict[str, str]:
    """What importing `start` imports, transitively, each with the file that asks for it."""
    files = {name_of(path): path for path in FILES}
    waiting = [start]
    while waiting:
        name = waiting.pop()
        for module in modules_of(files[name], at_top=True):
            parts = module.split(".")
            for end in range(1, len(parts) + 1):
                part = ".".join(parts[:end])
                if part not in seen:
                    seen[part] = name
                    if part in files:
                        waiting.append(part)
    return seen


@pytest.mark.parametrize("name", ["deepseek", *(f"deepseek.{room}" for room in ROOMS if (SRC / room).is_dir())])
def test_importing_a_room_needs_only_the_base_install(name: str) -> None:
    heavy = {module: by for module, by in loads(name, {}).items() if module in HEAVY - OWN.get(name, set())}
    assert not heavy, f"{name} imports {heavy} at the top; import them inside a function"


def test_every_file_of_a_verb_needs_only_the_base_install() -> None:
    for path in (SRC / "cli").glob("*.py"):
        heavy = {module: by for module, by in loads(name_of(path), {}).items() if module in HEAVY}
        assert not heavy, f"{path.name}: {heavy}"


def test_every_import_is_of_the_standard_library_or_declared() -> None:
    import sys

    known = HEAVY | BASE | sys.stdlib_module_names | {"deepseek", "uvloop"}
    for path in FILES:
        used = {module.split(".")[0] for module in modules_of(path, at_top=False)}
        assert used <= known, (
            f"{path.relative_to(SRC)} imports {sorted(used - known)}, which pyproject.toml does not declare"
        )


@pytest.mark.slow
def test_nothing_reads_a_pickle_or_runs_text() -> None:
    banned = {"pickle", "cPickle", "dill", "joblib", "cloudpickle", "marshal", "shelve"}
    for path in FILES:
        tree = tree_of(path)
        used = set(modules_of(path, at_top=False)) - {"pickle.UnpicklingError"}  # what torch says when it reads none
        assert not {module.split(".")[0] for module in used} & banned, path
        called = {ast.unparse(node.func) for node in nodes_of(tree) if isinstance(node, ast.Call)}
        assert not called & {"eval", "exec", "torch.load", "np.load", "numpy.load", "__import__"}, path


def test_a_broad_except_stands_only_around_a_request() -> None:
    around = (SRC / "serve", SRC / "engines" / "process" / "worker.py")  # on both sides of the socket
    for path in FILES:
        for node in nodes_of(tree_of(path)):
            if isinstance(node, ast.ExceptHandler):
                broad = node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
                passed_on = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
                where = f"{path.relative_to(SRC)}:{node.lineno}"
                assert not broad or passed_on or any(map(path.is_relative_to, around)), where
