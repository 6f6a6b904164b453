"""Installs a wheel into an empty environment of each Python and asks it for its help and its report.

    python .ci/wheel.py dist/deepseek-*.whl python3.11 python3.12 python3.13

Exits with 1 where a Python does not install it, `deepseek doctor` fails, or `import deepseek` takes more CPU seconds
than MOST_IMPORT_CPU_S, the least of five.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

MOST_IMPORT_CPU_S = 0.2
NUM_RUNS = 5
#: An environment of its own, whatever this one says.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def main() -> int:
    wheel, *pythons = sys.argv[1:]
    rows = [try_python(Path(wheel), python) for python in pythons]
    print(json.dumps(rows, indent=1))
    return int(any(row["problem"] for row in rows))


def try_python(wheel: Path, python: str) -> dict[str, object]:
    """What came of one Python: its version, how many packages came, the import's CPU seconds, and what went wrong."""
    with tempfile.TemporaryDirectory(prefix="deepseek-wheel-") as folder:
        own = Path(folder) / "bin" / "python"
        verbs = str(own.with_name("deepseek"))
        install = [str(own), "-m", "pip", "install", "--quiet", str(wheel)]
        steps = [[python, "-m", "venv", folder], install, [verbs, "--help"], [verbs, "doctor", "--json"]]
        for step in steps:
            done = run(step, folder)
            if done.returncode:
                return {"python": python, "problem": f"{' '.join(step[1:])}: {done.stderr.strip()[-300:]}"}
        version = json.loads(done.stdout)["python"]
        packages = len(run([str(own), "-m", "pip", "list", "--format", "freeze"], folder).stdout.split())
        import_s = min(cpu_s(own, "import deepseek", folder) - cpu_s(own, "", folder) for _ in range(NUM_RUNS))
    problem = "" if import_s < MOST_IMPORT_CPU_S else f"import deepseek takes {import_s:.2f} CPU seconds"
    return {"python": version, "packages": packages, "import_cpu_s": round(import_s, 3), "problem": problem}


def run(command: list[str], folder: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)


def cpu_s(python: Path, code: str, folder: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run([str(python), "-c", code], folder)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    sys.exit(main())
