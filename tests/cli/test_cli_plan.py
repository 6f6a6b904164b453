"""`deepseek plan`: the table, the object, and what is refused with which exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from deepseek.cli import main


def test_the_table_states_split_memory_times_and_assumptions(capsys) -> None:
    assert main(["plan", "100b", "--gpus", "H100x8", "--dtype", "fp8"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("100b (99.6 billion parameters, fp8) on H100x8: TP 8 x PP 1, ")
    for word in (
        "memory per device",
        "each token (p50)",
        "tokens/s",
        "not taken",
        "TP 4 x PP 2",
        "share of the FLOP/s",
    ):
        assert word in said
    assert "https://www.nvidia.com/en-us/data-center/h100/" in said


def test_the_object_holds_the_same(capsys) -> None:
    assert main(["plan", "mixtral-8x7b", "--gpus", "A100x4", "--batch", "16", "--context", "2048", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["split"] == {"tp": 4, "pp": 1, "replicas": 1}
    assert said["num_active_parameters"] < said["num_parameters"] / 3
    assert said["prompt"] + said["new"] == 2048
    assert said["fits"] is True
    assert abs(sum(said["parts_ms"].values()) - said["token_ms_p50"]) < 1e-9
    assert all({"split", "why_not", "token_ms_p50", "memory_bytes"} <= set(each) for each in said["alternatives"])
    assert all(each["source"] for each in said["assumptions"])


def test_a_folder_is_planned_for_this_machine(tmp_path: Path, capsys) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50257,
                    "n_positions": 1024})
    )  # fmt: skip
    assert main(["plan", str(tmp_path), "--gpus", "cpu", "--dtype", "fp32", "--context", "512"]) == 0
    assert "measured now" in capsys.readouterr().out


def test_what_does_not_fit_ends_with_3(capsys) -> None:
    assert main(["plan", "100b", "--gpus", "A100-40x2", "--json"]) == 3
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "check_failed"
    assert "--gpus A100-40x8" in error["fix"]


def test_bad_usage_ends_with_2(tmp_path: Path, capsys) -> None:
    for more in (["--gpus", "H1000x8"], ["--gpus", "A100", "--dtype", "fp8"], [], ["--gpus", "H100", "--batch", "0"],
                 ["--gpus", "H100", "--context", "100", "--new-tokens", "100"]):  # fmt: skip
        assert main(["plan", "100b", *more]) == 2
        assert "to mend it" in capsys.readouterr().err
    assert main(["plan", str(tmp_path), "--gpus", "H100"]) == 2


def test_a_plan_needs_no_torch() -> None:
    code = (
        "import sys\nsys.modules['torch'] = None\nfrom deepseek.cli import main\n"
        "assert main(['plan', '100b', '--gpus', 'H100x8']) == 0\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
