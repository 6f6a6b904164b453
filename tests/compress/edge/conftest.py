"""What the tests of the edge share: a trained network with rows, the engines' models, a sanitised or watched run."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import safetensors.numpy
import torch

from deepseek.compress.edge import build
from deepseek.compress.edge.program import Program
from support.nets.edgenets import digits as digits_of_sklearn
from support.nets.edgenets import save_onnx, small_cnn, trained

_spec = importlib.util.spec_from_file_location("engines_models", Path(__file__).parents[2] / "engines" / "conftest.py")
assert _spec is not None
assert _spec.loader is not None
_engines = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_engines)
#: A model of every kind of part, link and task, as the tests of the engines have them.
cancer, diabetes, cancer_forest = _engines.cancer, _engines.diabetes, _engines.cancer_forest
stump, random_perceptron, halved, models, model_and_rows = (
    _engines.stump, _engines.random_perceptron, _engines.halved, _engines.models, _engines.model_and_rows,
)  # fmt: skip
digits = _engines.digits

SANITISED = "-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all"


@pytest.fixture(scope="session")
def cnn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A network of every operator, trained on real pictures, and others that it has not seen: .onnx, .safetensors."""
    folder = tmp_path_factory.mktemp("cnn")
    pictures, target = digits_of_sklearn()
    torch.manual_seed(0)
    model = trained(small_cnn(), pictures[:1000], target[:1000])
    path = save_onnx(model, (1, 8, 8), folder / "cnn.onnx")
    safetensors.numpy.save_file({"picture": pictures[1000:]}, folder / "rows.safetensors")
    return path, folder / "rows.safetensors"


@pytest.fixture
def compiled(tmp_path: Path) -> Callable[..., Iterator[Path]]:
    """A program in a folder, compiled; `sanitised` with gcc's checks of memory and of undefined behaviour."""

    @contextmanager
    def make(program: Program, *, sanitised: bool = False) -> Iterator[Path]:
        folder = tmp_path / f"program{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        for name, text in program.files.items():
            (folder / name).write_text(text, encoding="utf-8")
        before = os.environ.get("CFLAGS")
        if sanitised:
            os.environ["CFLAGS"] = SANITISED
        try:
            with build.compile_program(folder) as compiled_program:
                yield compiled_program
        finally:
            if sanitised:
                os.environ.pop("CFLAGS")
            if before is not None:
                os.environ["CFLAGS"] = before

    return make  # type: ignore[return-value]


@pytest.fixture
def watched() -> Callable[[Path, bytes], str]:
    """Run `measure` of a folder under valgrind; what valgrind says. An error that it finds fails."""
    if shutil.which("valgrind") is None:
        say = pytest.fail if os.environ.get("DEEPSEEK_REQUIRE_DATA") == "1" else pytest.skip
        say("valgrind is missing. To mend it: apt-get install valgrind")

    def run(folder: Path, data: bytes) -> str:
        done = subprocess.run(
            ["valgrind", "--error-exitcode=9", "--leak-check=full", "./measure"],
            cwd=folder, input=data, capture_output=True, check=False,
        )  # fmt: skip
        said = done.stderr.decode()
        assert done.returncode == 0, said
        assert "ERROR SUMMARY: 0 errors" in said
        return said

    return run
