"""What hangs or eats memory in a sandbox is refused in words, and the next question is answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepseek.engines.llm.model.convert import convert
from deepseek.engines.llm.model.folder import ModelFolder
from deepseek.engines.llm.model.options import EngineLimits, GenerationOptions
from deepseek.engines.llm.process.process import LlmProcess
from deepseek.engines.llm.process.sandbox import MAX_WAITING, Sandbox
from deepseek.errors import BusyError, DeepseekError, DrainingError, InputError, MalformedError
from support.nets.tinylm import random_model

LOOPS = "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}"
GROWS = "{% set n = namespace(x='x' * 1000000) %}{% for i in range(40) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}"
LONG = "{% for i in range(5000) %}{{ '0123456789' * 100 }}{% endfor %}"
TEMPLATE = (
    "{% set said = messages[0].content %}"
    f"{{% if said == 'loop' %}}{LOOPS}{{% elif said == 'grow' %}}{GROWS}{{% elif said == 'long' %}}{LONG}"
    "{% else %}[{{ said }}]{% endif %}"
)


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("sandbox")
    random_model("gpt2", base / "source")
    (base / "source" / "chat_template.jinja").write_text(TEMPLATE)
    convert(ModelFolder.read(base / "source"), base / "target")
    return base / "target"


@pytest.fixture
def chat(folder: Path) -> Iterator[Sandbox]:
    sandbox = Sandbox(folder, "chat", 0.5)
    yield sandbox
    sandbox.close()


@pytest.mark.parametrize(("what", "status"), [("loop", 400), ("grow", 400), ("long", 422)])
def test_a_template_without_end_is_refused_and_the_next_is_rendered(chat: Sandbox, what: str, status: int) -> None:
    assert chat.ask(said("a")) == "[a]"
    started_s = time.monotonic()
    with pytest.raises(InputError) as caught:
        chat.ask(said(what))
    assert (caught.value.status, bool(caught.value.fix)) == (status, True)
    assert time.monotonic() - started_s < 20
    assert chat.ask(said("b")) == "[b]"


def test_a_schema_that_the_bounds_do_not_foresee_is_refused(folder: Path) -> None:
    schema = Sandbox(folder, "schema", 0.5)
    with pytest.raises(MalformedError, match="did not finish"):
        schema.ask('{"type": "string", "pattern": "((a{1,1000}){1,1000}){1,1000}"}')
    with pytest.raises(MalformedError, match="nonsense"):
        schema.ask('{"type": "nonsense"}')
    assert schema.ask('{"type": "boolean"}')
    schema.close()


def test_who_would_wait_long_is_refused_and_closing_ends_all(chat: Sandbox) -> None:
    refused: list[type[DeepseekError]] = []

    def ask() -> None:
        try:
            chat.ask(said("loop"))
        except DeepseekError as error:
            refused.append(type(error))

    askers = [threading.Thread(target=ask) for _ in range(MAX_WAITING + 3)]
    for asker in askers:
        asker.start()
    end_s = time.monotonic() + 20
    while refused.count(BusyError) < 2 and time.monotonic() < end_s:
        time.sleep(0.01)
    chat.close()
    for asker in askers:
        asker.join(20)
    assert not any(asker.is_alive() for asker in askers)
    assert refused.count(BusyError) == 2
    with pytest.raises(DrainingError):
        chat.ask(said("a"))


@pytest.mark.slow
def test_a_schema_is_checked_once_and_the_writer_is_not_hurt(folder: Path) -> None:
    writer = LlmProcess(folder, EngineLimits(cache_bytes=1 << 24))
    try:
        assert writer.schema({"type": "boolean"}) == '{"type": "boolean"}'
        pid = writer._schema.pid
        writer._schema.close()
        assert pid is not None
        assert writer.schema({"type": "boolean"}) == '{"type": "boolean"}'  # from memory
        written = threading.Semaphore(0)
        writer.submit([1], GenerationOptions(max_tokens=9, ignore_end=True), lambda piece: written.release())
        writer._chat = Sandbox(folder, "chat", 0.5)
        with pytest.raises(MalformedError, match=r"did not finish within 0\.5 s"):
            writer.chat(said("loop"))
        assert written.acquire(timeout=0.1)
        assert writer.is_alive
        assert writer.words.decode(writer.chat(said("a"))) == "[a]"
    finally:
        writer.close()
