"""How much memory there is, and words instead of a crash where it does not suffice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deepseek.data import read_table
from deepseek.data.table import memory
from deepseek.errors import TooLargeError


def system(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_the_least_of_machine_and_container_counts(tmp_path: Path) -> None:
    proc = system(tmp_path / "proc", {"meminfo": "MemTotal: 9000 kB\nMemAvailable:    5000 kB\n"})
    none = tmp_path / "none"
    assert memory.free_bytes(none, proc) == 5_000 * 1024
    files = {"memory.max": "3000000\n", "memory.current": "2500000\n", "memory.stat": "anon 1\ninactive_file 200000\n"}
    assert memory.free_bytes(system(tmp_path / "two", files), proc) == 700_000
    unlimited = system(tmp_path / "free", files | {"memory.max": "max\n"})
    assert memory.free_bytes(unlimited, proc) == 5_000 * 1024
    old = {"memory/memory.limit_in_bytes": "3000000", "memory/memory.usage_in_bytes": "4000000"}
    assert memory.free_bytes(system(tmp_path / "one", old), proc) == 0
    assert memory.free_bytes(none, none) is None


def test_a_limit_of_the_address_space_counts() -> None:
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (2 * 10**9,) * 2);"
        "from deepseek.data.table.memory import free_bytes; print(free_bytes())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 10**8 < int(done.stdout) < 2 * 10**9


def test_a_file_that_cannot_fit_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.csv"
    with path.open("wb") as file:
        file.truncate(10**9)
    monkeypatch.setattr(memory, "free_bytes", lambda: 2 * 10**9)
    with pytest.raises(TooLargeError, match=r"large.csv needs about 5.0 GB of memory. Expected: at most the 2.0 GB"):
        read_table(path)


def test_a_lack_of_memory_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.csv"
    path.write_text("x,y\n1,2\n")

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("deepseek.data.table.read.read_delimited", fail)
    with pytest.raises(TooLargeError, match=r"t.csv needs more memory than there is"):
        read_table(path)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_data_card_of_a_table_beyond_the_address_space_is_exit_code_2(tmp_path: Path, form: str) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet

    path = tmp_path / f"t.{form}"
    if form == "csv":
        with path.open("w") as file:
            file.write("x,y\n")
            for _ in range(60):
                file.write("1234567.25,text of some length\n" * 100_000)
    else:
        column = pa.array(np.zeros(60_000_000))
        pa.parquet.write_table(pa.table({"x": column, "y": column}), path)
    code = (
        "import resource, sys, pyarrow.csv, pyarrow.parquet; from deepseek.cli import main; "
        "taken = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize(); "
        "resource.setrlimit(resource.RLIMIT_AS, (taken + 6 * 10**8,) * 2); sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "data", "card", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert f"t.{form} needs" in done.stderr
    assert "memory" in done.stderr
