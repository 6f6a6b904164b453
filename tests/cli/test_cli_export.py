"""`deepseek export --edge`: one object or one table, and an exit code for each way in which it can fail."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from deepseek.cli import main


def test_json_and_a_table_say_what_was_written(cancer_bundle: Path, tmp_path: Path, capsys) -> None:
    verb = ["export", str(cancer_bundle), "--edge", "--tier", "c", "--out", str(tmp_path / "out")]
    assert main([*verb, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["tier"] == "c"
    assert said["variant"] == "float32"
    assert said["size_bytes"] < 1e6
    (tried,) = said["variants"]
    assert tried["parity"]["passes"]
    assert 0 < tried["p50_s"] <= tried["p99_s"]
    assert tried["cold_start_s"] > 0
    assert 0 < tried["most_bytes"] < 5e6
    assert main([*verb, "--overwrite"]) == 0
    out, err = capsys.readouterr()
    assert "RAM" in out
    assert "kept" in out
    assert not err  # how far it is, is for somebody who looks on


@pytest.mark.parametrize(
    ("options", "code", "word"),
    [
        (["--tier", "c"], 2, "say what the export is for"),
        (["--edge", "--tier", "c", "--max-mb", "0.001"], 3, "the smallest is 0.0"),
        (["--edge", "--max-mb", "0"], 2, "max-mb"),
        (["--edge", "--keep", "99%"], 2, "write 0.99"),
        (["--edge", "--tier", "rust"], 2, "rust"),
        (["--edge", "--tier", "c", "--data", "absent.csv"], 2, "absent.csv"),
    ],
)
def test_what_cannot_be_done_is_said(
    options: list[str], code: int, word: str, cancer_bundle: Path, tmp_path: Path, capsys
) -> None:
    assert main(["export", str(cancer_bundle), *options, "--out", str(tmp_path / "out")]) == code
    assert word in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_executorch_is_asked_for_where_it_is_missing_and_takes_modules(
    cancer_bundle: Path, tmp_path: Path, capsys
) -> None:
    verb = ["export", str(cancer_bundle), "--edge", "--tier", "executorch", "--out", str(tmp_path / "out")]
    assert main(verb) == 2
    missing = importlib.util.find_spec("executorch") is None
    assert ("pip install executorch" if missing else "is no torch module") in capsys.readouterr().err


@pytest.mark.slow
def test_a_module_of_a_python_file_is_exported_for_c(tmp_path: Path, capsys) -> None:
    import numpy as np
    import safetensors.numpy

    (tmp_path / "net.py").write_text(
        "from torch import nn\n\n\ndef build():\n"
        "    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))\n"
    )
    rows = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    safetensors.numpy.save_file({"rows": rows}, tmp_path / "rows.safetensors")
    verb = ["export", f"{tmp_path}/net.py:build", "--edge", "--tier", "c", "--out", str(tmp_path / "out")]
    assert main([*verb, "--data", str(tmp_path / "rows.safetensors"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["variants"][0]["parity"]["num_rows"] == 20
    assert "int8 was not tried" in said["warnings"][0]


@pytest.mark.slow
def test_a_module_of_which_a_record_would_hold_half_is_refused(tmp_path: Path, capsys) -> None:
    import numpy as np
    import safetensors.numpy

    (tmp_path / "branch.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Module):\n    def forward(self, x):\n"
        "        return x * 2 if x.sum() > 0 else x * 3  # a record holds one of the two\n\n\n"
        "def build():\n    return Net()\n"
    )
    rows = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    safetensors.numpy.save_file({"rows": rows}, tmp_path / "rows.safetensors")
    verb = ["export", f"{tmp_path}/branch.py:build", "--edge", "--tier", "c", "--out", str(tmp_path / "out")]
    assert main([*verb, "--data", str(tmp_path / "rows.safetensors")]) == 2
    assert "cannot be traced" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
