"""An engine in a process of its own says what the engine says, and its end is told to all who wait."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepseek.engines.llm.model.convert import convert
from deepseek.engines.llm.model.folder import ModelFolder
from deepseek.engines.llm.model.options import EngineLimits, GenerationOptions
from deepseek.engines.llm.process.process import LlmProcess
from deepseek.engines.llm.run.engine import LlmEngine
from deepseek.errors import DeepseekError, DrainingError, InputError
from support.nets.tinylm import trained
from support.servers.heard import Heard

LIMITS = EngineLimits(exact=True, cache_bytes=1 << 24)
LONG = GenerationOptions(temperature=0, ignore_end=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("process")
    convert(ModelFolder.read(trained(base / "source")), base / "target")
    return base / "target"


@pytest.fixture(scope="module")
def writer(folder: Path) -> Iterator[LlmProcess]:
    process = LlmProcess(folder, LIMITS)
    yield process
    process.close()
    assert not process.is_alive


def test_its_answers_are_those_of_the_engine(folder: Path, writer: LlmProcess) -> None:
    engine = LlmEngine(folder, LIMITS)
    options = GenerationOptions(max_tokens=20, seed=3, logprobs=True, stop=("\x00",))
    ids = writer.chat([{"role": "user", "content": "To be"}])
    assert ids == engine.chat([{"role": "user", "content": "To be"}])
    here, there = Heard(), Heard()
    engine.submit(ids, options, here)
    writer.submit(ids, options, there)
    assert there.wait().pieces == here.wait().pieces
    assert writer.max_tokens == engine.max_tokens
    engine.close()


def test_what_does_not_fit_is_refused_here(writer: LlmProcess) -> None:
    with pytest.raises(InputError, match="does not exist"):
        writer.submit([300], LONG, Heard())
    with pytest.raises(InputError, match="at most 255 tokens"):
        writer.submit([1] * 256, LONG, Heard())


def test_a_cancelled_answer_ends(writer: LlmProcess) -> None:
    heard = Heard()
    writer.submit([1], LONG, heard).cancel()
    assert heard.wait().finish == "cancelled"
    assert writer.load() == 0


def test_this_process_goes_on_while_a_step_runs(writer: LlmProcess) -> None:
    heard, gaps, before = Heard(), [], time.monotonic()
    writer.submit([1, 2], LONG, heard)
    while not heard.done.is_set():
        time.sleep(0.001)
        gaps.append(time.monotonic() - before)
        before = time.monotonic()
    assert len(gaps) > 10


def test_a_killed_process_ends_its_answers_with_an_error(folder: Path) -> None:
    lost = LlmProcess(folder, LIMITS)
    heard = [Heard() for _ in range(3)]
    for one in heard:
        lost.submit([1], LONG, one)
    os.kill(lost.pid, signal.SIGKILL)
    for one in heard:
        last = one.wait().pieces[-1]
        assert (last.finish, last.error is not None) in (("error", True), ("length", False))
    lost._thread.join(60)
    assert not lost.is_alive
    with pytest.raises(DrainingError):
        lost.submit([1], LONG, Heard())
    lost.close()


def test_closing_cancels_what_is_written(folder: Path) -> None:
    process, heard = LlmProcess(folder, LIMITS), Heard()
    process.submit([1], LONG, heard)
    process.close()
    assert heard.wait().finish in ("cancelled", "length")


def test_a_model_that_cannot_be_opened_is_said_here(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for name in ("config.json", "tokenizer.json", "openvino_detokenizer.xml", "openvino_detokenizer.bin"):
        (broken / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(DeepseekError, match="cannot be opened"):
        LlmProcess(broken, LIMITS)
