"""A text becomes a model that transformers loads and that says the same there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from deepseek.errors import InputError
from deepseek.train.loop.language import END_TOKEN, LanguageOptions, train_language
from support.nets.tinylm import TEXT, TINY


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[float]]:
    folder = tmp_path_factory.mktemp("language") / "model"
    return folder, train_language(TEXT, folder, TINY)


def test_the_loss_falls_far_below_that_of_a_guess(trained: tuple[Path, list[float]]) -> None:
    _, losses = trained
    assert losses[0] == pytest.approx(5.7, abs=0.2)  # log(300): nothing is known
    assert losses[-1] < 1.5


def test_transformers_loads_the_folder_and_knows_the_text(trained: tuple[Path, list[float]]) -> None:
    folder, losses = trained
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(TEXT[:400], return_tensors="pt").input_ids[:, :64]
    assert tokenizer.decode(tokenizer(TEXT).input_ids) == TEXT
    with torch.no_grad():
        loss = float(model(input_ids=ids, labels=ids).loss)
    assert loss < losses[-1] + 0.5
    assert tokenizer.eos_token == END_TOKEN


def test_the_chat_template_makes_lines_of_a_play(trained: tuple[Path, list[float]]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(trained[0])
    chat = [{"role": "user", "content": "Who's there?"}]
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert text == "USER:\nWho's there?\n\nASSISTANT:\n"


def test_a_seed_gives_the_same_losses_again(tmp_path: Path) -> None:
    options = replace(TINY, max_steps=3)
    first, again = (train_language(TEXT, tmp_path / name, options) for name in ("a", "b"))
    assert first == again
    assert train_language(TEXT, tmp_path / "c", replace(options, seed=1)) != first


def test_a_text_shorter_than_a_window_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give a longer text"):
        train_language("short", tmp_path / "model", TINY)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("change", [{"vocab_size": 256}, {"window": 1}, {"window": 300}, {"max_steps": 0}])
def test_options_outside_of_their_range_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(InputError, match="Expected"):
        replace(TINY, **change)


@pytest.mark.slow
def test_shakespeare_is_learned_in_minutes(shared_data: Path, tmp_path: Path) -> None:
    text = (shared_data / "tinyshakespeare" / "input.txt").read_text("utf-8")
    losses = train_language(text, tmp_path / "shakespeare", LanguageOptions())
    assert sum(losses[-20:]) / 20 < 4.0
