"""Models come and go in a process that signals reach."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deepseek.engines.llm.model.convert import convert
from deepseek.engines.llm.model.folder import ModelFolder
from support.nets.tinylm import trained

#: The first model that was opened is the first that goes, which is what plain OpenVINO dies of.
PROGRAM = """
import faulthandler, gc, signal, sys
from pathlib import Path

import numpy, openvino

from deepseek.engines.llm.run.engine import LlmEngine
from deepseek.engines.llm.model.options import EngineLimits
from deepseek.engines.openvino import openvino_core

def small():
    value = openvino.opset13.parameter([1, 4], dtype=numpy.float32)
    return openvino_core(extra="text").compile_model(openvino.Model([openvino.opset13.relu(value)], [value]), "CPU")

def engine():
    return LlmEngine(Path(sys.argv[1]), EngineLimits(cache_bytes=1 << 24))

faulthandler.enable()  # as pytest does: a stack for handlers that was there before
signal.signal(signal.SIGUSR1, lambda *told: print("handled", flush=True))
for first, second in ((small, engine), (engine, small), (small, small), (engine, engine)):
    models = [first(), second()]
    while models:
        model = models.pop(0)
        if isinstance(model, LlmEngine):
            model.close()
        del model
        gc.collect()
        signal.raise_signal(signal.SIGUSR1)
"""


@pytest.mark.slow
def test_a_signal_is_handled_after_models_went(tmp_path: Path) -> None:
    convert(ModelFolder.read(trained(tmp_path / "source")), tmp_path / "target")
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "target")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (run.returncode, run.stdout) == (0, "handled\n" * 8), run.stderr
