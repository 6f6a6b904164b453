"""What a lab needs that may not be installed: looked for before it begins, and nothing is imported for it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from deepseek.errors import ExtraError, InputError
from deepseek.extras import install_advice, is_installed
from deepseek.learn.definition.lab import Lab

#: Of each extra that a lab may install, the modules that it brings and that show that it is there.
EXTRA_MODULES = {
    "tabular": ("sklearn", "pandas", "scipy", "pyarrow", "onnx", "onnxruntime", "xgboost"),
    "serve": ("msgspec", "orjson", "httptools", "cryptography"),
    "train": ("torch",), "explain": ("xgboost",), "sklearn": ("skl2onnx", "onnxmltools"), "observe": ("duckdb",),
    "compress": ("nncf", "torch"), "keras": ("keras",),
    "keras-convert": ("keras", "onnx", "onnxruntime", "onnxscript", "torch"),
    "automl": ("optuna",), "features": ("numba",), "text": ("openvino", "tokenizers"),
}  # fmt: skip
#: What every install has beside the standard library.
BASE_MODULES = frozenset(("deepseek", "numpy", "click", "rich", "safetensors", "markdown_it"))


def missing_extras(lab: Lab) -> list[str]:
    """The extras of a lab of which a module is not there. InputError for one that nobody knows."""
    for problem in _unknown_extras(lab):
        raise InputError(f"the lab {lab.id}: {problem}", expected="extras of this package", fix="mend its lab.toml")
    return [extra for extra in lab.table.installs if not all(map(is_installed, EXTRA_MODULES[extra]))]


def check_installed(lab: Lab) -> None:
    """ExtraError names all extras that the lab needs and that are not there, and the one command that brings them."""
    missing = missing_extras(lab)
    if missing:
        names = ", ".join(missing)
        raise ExtraError(
            f"the lab {lab.id} needs parts of this package that are not installed: {names}",
            expected=f"the extra{'s' if len(missing) > 1 else ''} {names}", fix=install_advice(",".join(missing)),
        )  # fmt: skip


def install_problems(lab: Lab) -> Iterator[str]:
    """Extras that nobody knows, and modules that its code imports although no extra of the lab brings them."""
    yield from _unknown_extras(lab)
    brought = {module for extra in lab.table.installs for module in EXTRA_MODULES.get(extra, ())}
    allowed = BASE_MODULES | sys.stdlib_module_names | brought
    for path in sorted(lab.folder.rglob("*.py")):
        for module in imported_modules(path):
            if module not in allowed and not (path.parent / f"{module}.py").is_file():
                yield f"{path.relative_to(lab.folder)} imports {module}, which no extra in its installs brings"


def _unknown_extras(lab: Lab) -> Iterator[str]:
    for extra in lab.table.installs:
        if extra not in EXTRA_MODULES:
            yield f"installs names the extra {extra!r}; known are {', '.join(EXTRA_MODULES)}"


def imported_modules(path: Path) -> list[str]:
    """The packages that a file imports anywhere, also inside of its functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return sorted(names)
