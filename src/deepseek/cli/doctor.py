"""`deepseek doctor`: what is installed, what is missing, and how to get it. Imports none of it."""

from __future__ import annotations

import platform
import shutil
import subprocess

import click

from deepseek.cli.support import output
from deepseek.contracts import JsonObject
from deepseek.extras import ROOMS, install_advice, is_installed

#: What each engine needs beyond the base install.
ENGINES: dict[str, tuple[str, ...]] = {
    "numpy": ("numpy",),
    "onnxruntime": ("onnxruntime",),
    "trees": ("xgboost",),
    "torch": ("torch",),
}

EPILOG = """\b
Example:
  deepseek doctor --json
"""


@click.command(epilog=EPILOG, short_help="Say what is installed and what is missing.")
@output.json_option
def command(as_json: bool) -> None:
    """Say which rooms and engines can be used here, and what the others are waiting for."""
    result = examine()
    output.emit(result, as_json, lambda: _report(result))


def examine() -> JsonObject:
    """The machine and the installation, found without importing anything heavy."""
    missing = {room: [module for module in modules if not is_installed(module)] for room, modules in ROOMS.items()}
    return {
        "python": platform.python_version(),
        "rooms": {room: {"ok": not modules, "missing": modules} for room, modules in missing.items()},
        "engines": [engine for engine, modules in ENGINES.items() if all(map(is_installed, modules))],
        "accelerators": accelerators(),
    }


def accelerators() -> list[str]:
    """Names of the NVIDIA GPUs that the driver reports; Apple's GPU on Apple silicon."""
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return ["Apple GPU (mps)"]
    if shutil.which("nvidia-smi") is None:
        return []
    try:
        query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        listing = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
    except (subprocess.SubprocessError, OSError):
        return []
    return [line.strip() for line in listing.stdout.splitlines() if line.strip()]


def _report(result: JsonObject) -> list[object]:
    rooms = [
        (name, "ok" if room["ok"] else "missing: " + ", ".join(room["missing"]))
        for name, room in result["rooms"].items()
    ]
    return [
        output.fact_table(
            [
                ("Python", result["python"]),
                *rooms,
                ("engines", result["engines"]),
                ("accelerators", result["accelerators"] or "none, the CPU does the work"),
            ]
        ),
        "" if all(room["ok"] for room in result["rooms"].values()) else f"To bring everything, {install_advice('all')}",
    ]
