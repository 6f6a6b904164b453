"""Models that are not converted here are written by transformers, with the options and refusals of the other engine."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from deepseek.engines.llm.model.chat import open_template
from deepseek.engines.llm.model.options import EngineLimits, GenerationOptions
from deepseek.engines.llm.run.base import GenerationChunk
from deepseek.engines.llm.run.choose import open_engine
from deepseek.engines.llm.run.torch_engine import TorchEngine
from deepseek.errors import DeepseekError, InputError
from support.nets.tinylm import random_model
from support.servers.heard import Heard

PROMPTS = ("To be, or", "Whether", "that is the question: to", "in the mind to suffer")
GREEDY = GenerationOptions(max_tokens=12, temperature=0, ignore_end=True, logprobs=True)
FAMILIES = ("gpt_neox", "bloom", "mamba")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Any]]:
    base = tmp_path_factory.mktemp("torch")
    return {family: (base / family, random_model(family, base / family)) for family in FAMILIES}


@pytest.fixture(scope="module")
def engine(models: dict[str, tuple[Path, Any]]) -> Iterator[TorchEngine]:
    engine = TorchEngine(models["gpt_neox"][0])
    yield engine
    engine.close()
    assert not engine.is_alive


def ask(engine: TorchEngine, prompt: str, options: GenerationOptions = GREEDY) -> Heard:
    heard = Heard()
    heard.generation = engine.submit(engine.words.encode(prompt, max_tokens=100), options, heard)
    return heard


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_side_by_side_are_those_of_transformers_alone(
    models: dict[str, tuple[Path, Any]], tmp_path: Path, family: str
) -> None:
    folder, model = models[family]
    engine = open_engine(folder, tmp_path, "fp32", EngineLimits())
    assert isinstance(engine, TorchEngine)
    heard = [ask(engine, prompt) for prompt in PROMPTS]
    for prompt, one in zip(PROMPTS, heard, strict=True):
        ids = engine.words.encode(prompt, max_tokens=100)
        for _ in range(12):  # the whole text anew for each token: no cache, no padding
            with torch.no_grad():
                scores = model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
            ids.append(int(scores.argmax()))
        assert one.wait().tokens == ids[-12:]
        assert (one.finish, one.text) == ("length", engine.words.decode(ids[-12:]))
        assert one.pieces[-1].logprobs[-1] == pytest.approx(float(scores.max()), abs=1e-4)
    engine.close()


def test_a_seed_gives_the_same_again_and_chance_follows_the_options(engine: TorchEngine) -> None:
    seeded = GenerationOptions(max_tokens=20, seed=5, temperature=1.5, ignore_end=True)
    first, other = ask(engine, PROMPTS[0], seeded), ask(engine, PROMPTS[1], seeded)
    assert ask(engine, PROMPTS[0], seeded).wait().tokens == first.wait().tokens
    assert other.wait().tokens != first.tokens
    greedy = ask(engine, PROMPTS[0], GenerationOptions(max_tokens=20, temperature=0, ignore_end=True)).wait().tokens
    for narrow in ({"top_k": 1}, {"top_p": 5e-324}):
        options = GenerationOptions(max_tokens=20, seed=1, ignore_end=True, **narrow)  # type: ignore[arg-type]
        assert ask(engine, PROMPTS[0], options).wait().tokens == greedy
    assert first.tokens != greedy
    free = GenerationOptions(max_tokens=20, temperature=2, ignore_end=True)
    assert len({tuple(ask(engine, PROMPTS[0], free).wait().tokens) for _ in range(3)}) > 1
    penalty = GenerationOptions(max_tokens=20, temperature=0, ignore_end=True, frequency_penalty=2, presence_penalty=2)
    assert len(set(ask(engine, PROMPTS[0], penalty).wait().tokens)) >= len(set(greedy))


def test_stops_ends_and_cancelling(engine: TorchEngine) -> None:
    whole = ask(engine, PROMPTS[0], GenerationOptions(max_tokens=40, temperature=0, ignore_end=True)).wait().text
    stop = whole[8:12]
    heard = ask(engine, PROMPTS[0], GenerationOptions(max_tokens=40, temperature=0, ignore_end=True, stop=(stop,)))
    assert (heard.wait().text, heard.finish) == (whole[: whole.index(stop)], "stop")
    endless = GenerationOptions(temperature=0, ignore_end=True)
    first, second = ask(engine, PROMPTS[0], endless), ask(engine, PROMPTS[1], endless)
    while not first.pieces:
        time.sleep(0.001)
    waiting = ask(engine, PROMPTS[2], endless)  # of the next batch
    for one in (first, waiting):
        assert one.generation is not None
        one.generation.cancel()
    assert (first.wait().finish, waiting.wait().finish) == ("cancelled", "cancelled")
    assert (second.wait().finish, len(second.tokens) > len(first.tokens)) == ("length", True)
    assert engine.load() == (0, 0)


def test_a_cache_for_one_answer_makes_the_others_wait(models: dict[str, tuple[Path, Any]], engine: TorchEngine) -> None:
    small = TorchEngine(models["gpt_neox"][0], EngineLimits(cache_bytes=30 * engine._token_bytes))
    assert small.max_tokens == 30
    heard = [Heard() for _ in PROMPTS]
    order: list[int] = []

    def record(at: int, piece: GenerationChunk) -> None:
        order.append(at)
        heard[at](piece)

    for at, prompt in enumerate(PROMPTS):
        small.submit(small.words.encode(prompt, max_tokens=100), GREEDY, partial(record, at))
    assert [one.wait().tokens for one in heard] == [ask(engine, prompt).wait().tokens for prompt in PROMPTS]
    assert order == sorted(order)  # one after the other
    with pytest.raises(InputError, match="at most 30 together"):
        ask(small, PROMPTS[0], GenerationOptions(max_tokens=29))
    small.close()


def test_a_schema_is_refused(engine: TorchEngine) -> None:
    with pytest.raises(InputError, match="holds no answer to a JSON schema"):
        ask(engine, PROMPTS[0], GenerationOptions(json_schema="{}"))


def test_a_step_that_fails_ends_its_answers_and_the_engine_goes_on(
    engine: TorchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(engine._model, "forward", lambda **_: {}["nothing"])
        assert ask(engine, PROMPTS[0]).wait().finish == "error"
    assert ask(engine, PROMPTS[0]).wait().finish == "length"


@pytest.mark.parametrize("place", ["chat_template.jinja", "tokenizer_config.json"])
def test_its_template_is_the_one_of_its_folder(tmp_path: Path, place: str) -> None:
    template = (
        "{%- if messages[0].content == 'no' %}{{ raise_exception('no!') }}{% endif %}\n"
        "{{ bos_token }}[{{ messages[0].content }}]{{ messages[0].__class__ }}{{ messages | tojson }}"
    )
    config: dict[str, Any] = {"bos_token": {"content": "<s>"}}
    if place == "tokenizer_config.json":
        config["chat_template"] = [{"name": "other", "template": ""}, {"name": "default", "template": template}]
    else:
        (tmp_path / place).write_text(template)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    chat_template = open_template(tmp_path)
    assert chat_template.render([{"role": "user", "content": "é"}]) == '<s>[é][{"role": "user", "content": "é"}]'
    with pytest.raises(InputError, match="no!"):
        chat_template.render([{"role": "user", "content": "no"}])


def test_a_folder_without_a_template_makes_no_chats(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no chat template"):
        open_template(tmp_path).render([{"role": "user", "content": "a"}])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "no_such_model"}, "no_such_model"),
        ({"hidden_size": "many"}, "transformers cannot run"),
        ({"auto_map": {"AutoModelForCausalLM": "evil.Model"}, "model_type": "custom"}, "transformers cannot run"),
    ],
)
def test_a_folder_that_transformers_cannot_run_is_refused_and_its_code_is_not_run(
    models: dict[str, tuple[Path, Any]], tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    folder = shutil.copytree(models["gpt_neox"][0], tmp_path / "model")
    raw = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(raw | change))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(DeepseekError, match=message):
        open_engine(folder, tmp_path / "cache", "fp32", EngineLimits())
    assert not (tmp_path / "ran").exists()


def test_int8_is_refused(models: dict[str, tuple[Path, Any]], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no int8 here"):
        open_engine(models["bloom"][0], tmp_path, "int8", EngineLimits())
