"""Answers written side by side are the answers written alone, and nothing that one request asks hurts another."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from deepseek.engines.llm.model.convert import convert
from deepseek.engines.llm.model.folder import ModelFolder
from deepseek.engines.llm.model.options import EngineLimits, GenerationOptions
from deepseek.engines.llm.run.engine import LlmEngine
from deepseek.errors import BusyError, DrainingError, InputError
from support.nets.tinylm import trained
from support.servers.heard import Heard

GREEDY = GenerationOptions(max_tokens=24, temperature=0)
PROMPTS = ("To be, or", "Whether 'tis", "that is the", "in the mind to suffer")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    base = tmp_path_factory.mktemp("llm")
    source = trained(base / "source")
    convert(ModelFolder.read(source), base / "target")
    return source, base / "target"


@pytest.fixture(scope="module")
def engine(folders: tuple[Path, Path]) -> Iterator[LlmEngine]:
    engine = LlmEngine(folders[1], EngineLimits(exact=True, cache_bytes=1 << 24))
    yield engine
    engine.close()


def ask(engine: LlmEngine, prompt: str, options: GenerationOptions = GREEDY) -> Heard:
    heard = Heard()
    heard.generation = engine.submit(engine.words.encode(prompt, max_tokens=200), options, heard)
    return heard


def test_the_most_likely_tokens_are_those_of_transformers(folders: tuple[Path, Path], engine: LlmEngine) -> None:
    model = AutoModelForCausalLM.from_pretrained(folders[0])
    ids = engine.words.encode(PROMPTS[0], max_tokens=200)
    with torch.no_grad():
        wanted = model.generate(torch.tensor([ids]), max_new_tokens=24, do_sample=False)[0, len(ids) :]
        logits = torch.log_softmax(model(torch.tensor([[*ids, *wanted]])).logits[0, len(ids) - 1 : -1], -1)
    heard = ask(engine, PROMPTS[0], GenerationOptions(max_tokens=24, temperature=0, logprobs=True)).wait()
    assert heard.tokens == wanted.tolist()
    logprobs = [value for piece in heard.pieces for value in piece.logprobs]
    assert logprobs == pytest.approx(logits.gather(1, wanted[:, None])[:, 0].tolist(), abs=1e-4)
    assert (heard.finish, heard.text) == ("length", engine.words.decode(wanted.tolist()))


def test_answers_side_by_side_are_those_alone(engine: LlmEngine) -> None:
    options = [GREEDY, GenerationOptions(max_tokens=24, seed=5), GenerationOptions(max_tokens=24, seed=6, top_k=5)]
    alone = [[ask(engine, prompt, option).wait().tokens for option in options] for prompt in PROMPTS]
    together = [[ask(engine, prompt, option) for option in options] for prompt in PROMPTS]
    assert [[heard.wait().tokens for heard in row] for row in together] == alone
    assert alone[0][1] != alone[0][2]


def test_the_smallest_top_p_takes_the_most_likely_token(engine: LlmEngine) -> None:
    heard = ask(engine, PROMPTS[0], GenerationOptions(max_tokens=24, top_p=5e-324)).wait()
    assert (heard.finish, heard.tokens) == ("length", ask(engine, PROMPTS[0]).wait().tokens)


def test_without_a_seed_answers_differ(engine: LlmEngine) -> None:
    options = GenerationOptions(max_tokens=24, temperature=2)
    assert len({ask(engine, PROMPTS[0], options).wait().text for _ in range(4)}) > 1


def test_an_answer_ends_before_a_stop_that_several_tokens_make(engine: LlmEngine) -> None:
    whole = ask(engine, PROMPTS[0]).wait().text
    stop = whole[6:14]
    heard = ask(engine, PROMPTS[0], GenerationOptions(max_tokens=24, temperature=0, stop=("\x00", stop))).wait()
    assert (heard.text, heard.finish) == (whole[: whole.index(stop)], "stop")
    assert all(stop[0] not in piece.text or piece.text in whole for piece in heard.pieces)


def test_the_token_that_ends_a_text_ends_the_answer(engine: LlmEngine) -> None:
    options = GenerationOptions(temperature=0, json_schema='{"type": "boolean"}')
    heard = ask(engine, PROMPTS[0], options).wait()
    assert (heard.text.strip() in {"true", "false"}, heard.finish) == (True, "stop")
    assert heard.tokens[-1] == engine.end_ids[0]


def test_an_answer_follows_its_schema(engine: LlmEngine) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 5}, "age": {"type": "integer", "maximum": 99}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    options = GenerationOptions(seed=1, temperature=0.5, json_schema=engine.schema(schema))
    heard = ask(engine, PROMPTS[0], options).wait()
    if heard.finish == "stop":
        answer = json.loads(heard.text)
        assert set(answer) == {"name", "age"}
        assert len(answer["name"]) <= 5
    assert heard.text.lstrip().startswith("{")


def test_a_step_that_fails_ends_its_answers_and_the_engine_goes_on(engine: LlmEngine) -> None:
    hurt = ask(engine, PROMPTS[0], GenerationOptions(max_tokens=4, json_schema='{"type": "nonsense"}')).wait()
    assert hurt.finish == "error"
    assert "send the request again" in str(hurt.pieces[-1].error)
    assert len(ask(engine, PROMPTS[0]).wait().tokens) == 24


def test_an_engine_that_cannot_begin_anew_says_so(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    lost = LlmEngine(folders[1])
    assert lost.is_alive

    def full() -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(lost, "_open", full)
    heard = [ask(lost, PROMPTS[0], GenerationOptions(json_schema='{"type": "nonsense"}')), ask(lost, PROMPTS[1])]
    assert {one.wait().finish for one in heard} <= {"error", "cancelled", "length", "stop"}
    lost.close()
    assert not lost.is_alive
    with pytest.raises(DrainingError):
        ask(lost, PROMPTS[0])


def test_a_full_cache_delays_and_changes_nothing(folders: tuple[Path, Path], engine: LlmEngine) -> None:
    options = GenerationOptions(max_tokens=100, temperature=0, ignore_end=True)
    wanted = [ask(engine, prompt, options).wait().tokens for prompt in PROMPTS]
    small = LlmEngine(folders[1], EngineLimits(exact=True, cache_bytes=1 << 16))
    try:
        assert small.max_tokens == 128  # four blocks: one answer and a half
        heard = [ask(small, prompt, options) for prompt in PROMPTS]
        assert [one.wait().tokens for one in heard] == wanted
        with pytest.raises(InputError, match="at most 128 together"):
            ask(small, PROMPTS[0], GenerationOptions(max_tokens=128))
    finally:
        small.close()


def test_a_cancelled_answer_ends_and_others_go_on(engine: LlmEngine) -> None:
    long = GenerationOptions(temperature=0, ignore_end=True)
    first, second = ask(engine, PROMPTS[0], long), ask(engine, PROMPTS[1], long)
    while not first.pieces:
        time.sleep(0.001)
    assert first.generation is not None
    first.generation.cancel()
    assert first.wait().finish == "cancelled"
    assert (second.wait().finish, len(first.tokens) < len(second.tokens)) == ("length", True)


def test_the_queue_has_an_end(folders: tuple[Path, Path]) -> None:
    small = LlmEngine(folders[1], EngineLimits(max_running=1, max_waiting=2))
    long = GenerationOptions(temperature=0, ignore_end=True)
    heard, refused = [], 0
    for _ in range(20):
        try:
            heard.append(ask(small, PROMPTS[0], long))
        except BusyError as error:
            refused += "ask again later" in str(error)
    assert refused > 0
    assert len(heard) >= 2
    small.close()
    assert {one.wait().finish for one in heard} <= {"cancelled", "length"}
    with pytest.raises(DrainingError):
        ask(small, PROMPTS[0])


def test_who_waits_and_is_cancelled_leaves_the_queue(folders: tuple[Path, Path]) -> None:
    small = LlmEngine(folders[1], EngineLimits(max_running=1))
    running = ask(small, PROMPTS[0], GenerationOptions(temperature=0, ignore_end=True))
    waiting = ask(small, PROMPTS[1])
    assert waiting.generation is not None
    waiting.generation.cancel()
    assert waiting.wait().finish == "cancelled"
    assert running.pieces == [] or running.finish is None
    small.close()


def test_a_hugging_face_folder_is_converted_once(folders: tuple[Path, Path], tmp_path: Path) -> None:
    for _ in range(2):
        engine = LlmEngine.open(folders[0], tmp_path / "cache", precision="int8")
        assert (engine.precision, len(ask(engine, PROMPTS[0]).wait().tokens)) == ("int8", 24)
        engine.close()
    assert len([path for path in (tmp_path / "cache").iterdir() if path.is_dir()]) == 1
    with pytest.raises(InputError, match="convert it again"):
        LlmEngine(folders[0])


def test_a_penalty_takes_tokens_that_stand_there_already(engine: LlmEngine) -> None:
    free = ask(engine, PROMPTS[0], GenerationOptions(max_tokens=60, temperature=0, ignore_end=True)).wait().tokens
    options = GenerationOptions(max_tokens=60, temperature=0, ignore_end=True, frequency_penalty=2, presence_penalty=2)
    assert len(set(ask(engine, PROMPTS[0], options).wait().tokens)) > len(set(free))


@pytest.mark.parametrize("ids", [[-1], [300], ["a"], [True], [1.5]])
def test_tokens_that_do_not_exist_are_refused(engine: LlmEngine, ids: list[Any]) -> None:
    with pytest.raises(InputError, match="does not exist"):
        engine.submit(ids, GREEDY, lambda piece: None)


def test_a_prompt_without_room_is_refused(engine: LlmEngine) -> None:
    with pytest.raises(InputError, match="at most 255 tokens"):
        engine.submit([1] * 256, GREEDY, lambda piece: None)


def test_no_prompt_begins_a_text(engine: LlmEngine) -> None:
    heard = Heard()
    engine.submit([], GREEDY, heard)
    assert len(heard.wait().tokens) == 24


@pytest.mark.parametrize(
    "change",
    [
        {"max_tokens": 0}, {"temperature": -0.1}, {"temperature": 2.1}, {"temperature": float("nan")}, {"top_p": 0.0},
        {"top_p": 1.1}, {"top_k": -1}, {"frequency_penalty": 2.1}, {"presence_penalty": -2.1}, {"stop": ("",)},
        {"stop": ("a",) * 17},
    ],
)  # fmt: skip
def test_options_outside_of_their_range_are_refused(engine: LlmEngine, change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(change))):
        ask(engine, PROMPTS[0], GenerationOptions(**change))


def test_a_chat_becomes_a_prompt(engine: LlmEngine) -> None:
    ids = engine.chat([{"role": "user", "content": "Who's {{ 1 + 1 }} there?"}])
    assert engine.words.decode(ids) == "USER:\nWho's {{ 1 + 1 }} there?\n\nASSISTANT:\n"
    with pytest.raises(InputError, match="at most 255 tokens"):
        engine.chat([{"role": "user", "content": "long " * 500}])


def test_the_template_that_stands_in_a_file_of_its_own_is_taken(folders: tuple[Path, Path], tmp_path: Path) -> None:
    source = shutil.copytree(folders[0], tmp_path / "source")
    (source / "chat_template.jinja").write_text("{{ bos_token }}{% for m in messages %}[{{ m.content }}]{% endfor %}")
    engine = LlmEngine.open(source, tmp_path / "cache")
    ids = engine.chat([{"role": "user", "content": "a"}])
    assert (ids[0], engine.words.decode(ids)) == (0, "[a]")
    engine.close()


def test_a_template_that_refuses_is_named(folders: tuple[Path, Path], tmp_path: Path) -> None:
    source = shutil.copytree(folders[0], tmp_path / "source")
    (source / "chat_template.jinja").write_text("{{ raise_exception('system first') }}")
    engine = LlmEngine.open(source, tmp_path / "cache")
    with pytest.raises(InputError, match="system first"):
        engine.chat([{"role": "user", "content": "a"}])
    engine.close()
