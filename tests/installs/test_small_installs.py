"""What the small installs can do, with everything else hidden: the edge runs a bundle, the base looks into it."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

HIDE = """
import sys
import urllib.request
from importlib.machinery import PathFinder
class Hiding(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in {absent!r} else super().find_spec(name, path, target)
sys.meta_path[:] = [Hiding if finder is PathFinder else finder for finder in sys.meta_path]
"""
TRAINING = {"torch", "captum", "shap", "sklearn", "optuna", "onnx", "skl2onnx", "scipy", "polars"}
SERVING = {"httptools", "uvloop", "msgspec", "multipart", "orjson", "prometheus_client", "cryptography", "psutil"}
TABLES = {"pandas", "pyarrow"}


def run_without(absent: set[str], code: str, *args: str) -> subprocess.CompletedProcess[str]:
    script = HIDE.format(absent=absent) + code
    return subprocess.run([sys.executable, "-c", script, *args], capture_output=True, text=True, check=False)


def test_the_edge_install_runs_a_bundle(cancer_bundle: Path) -> None:
    code = """
import json
from deepseek.engines import Runtime
with Runtime.open(sys.argv[1]) as runtime:
    prediction = runtime.predict([dict(runtime.example)] * 2)
    print(json.dumps(prediction.probabilities.tolist()))
"""
    done = run_without(TRAINING | SERVING | TABLES | {"xgboost"}, code, str(cancer_bundle))
    assert done.returncode == 0, done.stderr
    assert all(abs(sum(row) - 1) < 1e-5 for row in json.loads(done.stdout))


def test_scoring_a_csv_file_without_the_table_libraries_says_which_extra_brings_them(
    cancer_bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    code = "from deepseek.cli import main; sys.exit(main(['predict', sys.argv[1], sys.argv[2]]))"
    done = run_without(TRAINING | TABLES, code, str(cancer_bundle), str(tmp_path / "rows.csv"))
    assert done.returncode == 2
    assert "pip install -e '.[tabular]'" in done.stderr


def test_shipping_without_the_training_libraries_says_which_extra_brings_them(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    code = "from deepseek.cli import main; sys.exit(main(['ship', sys.argv[1], '--target', 'b']))"
    done = run_without(TRAINING | TABLES, code, str(tmp_path / "rows.csv"))
    assert done.returncode == 2
    assert "pip install -e '.[" in done.stderr


def test_the_base_install_looks_into_a_bundle(cancer_bundle: Path) -> None:
    everything = TRAINING | SERVING | TABLES | {"xgboost", "onnxruntime"}
    for verb in ("inspect", "verify"):
        code = f"from deepseek.cli import main; sys.exit(main(['{verb}', sys.argv[1], '--json']))"
        done = run_without(everything, code, str(cancer_bundle))
        assert done.returncode == 0, done.stderr
        json.loads(done.stdout)


def test_doctor_runs_on_the_base_install_and_says_what_is_missing() -> None:
    code = "from deepseek.cli import main; sys.exit(main(['doctor', '--json']))"
    done = run_without(TRAINING | SERVING | TABLES | {"xgboost", "onnxruntime"}, code)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["engines"] == ["numpy"]
    assert facts["rooms"]["engines"] == {"ok": False, "missing": ["onnxruntime"]}


def test_a_server_without_the_extras_of_features_and_of_watching_tells_its_metrics(cancer_bundle: Path) -> None:
    code = "from deepseek.cli import main; sys.exit(main(['serve', sys.argv[1], '--port', '0', '--workers', '0']))"
    script = HIDE.format(absent=TRAINING | {"numba", "grafana_foundation_sdk", "pynvml", "yaml"}) + code
    process = subprocess.Popen([sys.executable, "-c", script, str(cancer_bundle)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        with urllib.request.urlopen(f"{url}/metrics", timeout=30) as response:
            assert b"deepseek_ready 1.0" in response.read()
    finally:
        process.kill()
        process.communicate()
