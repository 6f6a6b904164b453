"""Text comes out as it went in, whatever its tokens cut in two."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from deepseek.engines.llm.model.tokenizer import LlmTokenizer
from deepseek.errors import InputError
from deepseek.train.loop.language import fit_tokenizer
from support.nets.tinylm import TEXT


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> LlmTokenizer:
    folder = tmp_path_factory.mktemp("words")
    fit_tokenizer(TEXT, 300).save(str(folder / "tokenizer.json"))
    return LlmTokenizer.open(folder, 300)


def test_a_character_of_several_tokens_comes_whole(words: LlmTokenizer) -> None:
    ids = words.encode("😎 ok", max_tokens=20)
    writer = words.decoder()
    parts = [writer.take(index) for index in ids]
    assert parts[:2] == ["", ""]  # an emoji has four bytes, and none of them is said alone
    assert "".join(parts) + writer.finish() == "😎 ok"


@given(st.text(max_size=60))
def test_every_text_comes_back(words: LlmTokenizer, text: str) -> None:
    writer = words.decoder()
    ids = words.encode(text, max_tokens=1000)
    assert "".join(map(writer.take, ids)) + writer.finish() == text == words.decode(ids)


@given(st.text("ab\n", max_size=30), st.lists(st.text("ab\n", min_size=1, max_size=4), min_size=1, max_size=3))
def test_a_stop_ends_the_text_before_its_first_place(words: LlmTokenizer, text: str, stops: list[str]) -> None:
    writer = words.decoder(stops)
    decoded = "".join(map(writer.take, words.encode(text, max_tokens=1000))) + writer.finish()
    places = [text.index(stop) for stop in stops if stop in text]
    assert writer.stopped == bool(places)
    if places:
        assert text.startswith(decoded)
        assert not any(stop in decoded for stop in stops)
    else:
        assert decoded == text


def test_broken_bytes_become_a_replacement(words: LlmTokenizer) -> None:
    writer = words.decoder()
    first = words.encode("é", max_tokens=9)[:1] if len(words.encode("é", max_tokens=9)) > 1 else [_byte(words, 0xC3)]
    assert writer.take(first[0]) + writer.finish() == "\ufffd"


def _byte(words: LlmTokenizer, byte: int) -> int:
    return words.pieces.index(bytes([byte]))


def test_the_decoder_of_tokenizers_agrees(words: LlmTokenizer, tmp_path: Path) -> None:
    tokenizer = fit_tokenizer(TEXT, 300)
    ids = tokenizer.encode(TEXT).ids
    assert isinstance(tokenizer, Tokenizer)
    assert words.decode(ids) == tokenizer.decode(ids)


def test_a_book_is_refused_without_being_read(words: LlmTokenizer) -> None:
    with pytest.raises(InputError, match="bytes"):
        words.encode("a" * 10_000_000, max_tokens=100)
    with pytest.raises(InputError, match="103 tokens"):
        words.encode("z" * 103, max_tokens=100)


def test_half_a_character_is_refused(words: LlmTokenizer) -> None:
    with pytest.raises(InputError, match="lone surrogate"):
        words.encode("\ud800", max_tokens=100)


@pytest.mark.parametrize("content", ["{}", '{"model": {"type": "BPE", "vocab": {"a": 0}}}', "[]", "x"])
def test_a_tokenizer_that_cannot_be_read_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(InputError, match=r"tokenizer\.json"):
        LlmTokenizer.open(tmp_path, 300)
