"""The wheel as a user gets it: whole, typed, without tests or data, and quick to import where nothing else is."""

from __future__ import annotations

import importlib.util
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MOST_IMPORT_CPU_S = 0.2
MOST_BYTES = 8_000_000

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    if importlib.util.find_spec("hatchling") is not None:
        command = ["hatchling", "build", "-t", "wheel", "-d", folder]
    else:  # pip fetches what builds it
        command = ["pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT]
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("deepseek-*.whl")
    return path


def test_it_holds_every_module_and_the_mark_of_types_and_nothing_of_the_tests(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    package = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src" / "deepseek").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert package <= names
    assert "deepseek/py.typed" in names
    others = {name for name in names - package if ".dist-info/" not in name}
    assert others == set(), "only the package itself"
    assert not {name for name in names if Path(name).name.startswith(("test_", "conftest"))}
    assert not {name for name in names if Path(name).suffix in (".csv", ".parquet", ".pkl", ".ipynb")}
    assert wheel.stat().st_size < MOST_BYTES


def test_its_description_renders(wheel: Path) -> None:
    pytest.importorskip("twine")
    done = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", wheel], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_it_imports_within_the_limit_from_the_wheel_alone(wheel: Path) -> None:
    """CPU seconds, the least of several: what a busy machine adds is left out. A wheel is a zip that Python imports
    from; its files are on the disk of an install, so unpacked ones are measured."""
    unpacked = wheel.parent / "unpacked"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    code = f"import sys; sys.path.insert(0, {str(unpacked)!r}); "
    check = "import deepseek; assert deepseek.__file__.startswith(sys.path[0]); deepseek.__version__"
    subprocess.run([sys.executable, "-I", "-c", code + check], check=True)  # compiles
    costs = [_cpu_s(code + check) - _cpu_s(code) for _ in range(5)]
    assert min(costs) < MOST_IMPORT_CPU_S


def _cpu_s(code: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-I", "-c", code], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
