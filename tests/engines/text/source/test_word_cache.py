"""Words: what is looked up is what the tokenizer makes, and what cannot be looked up is left to it."""

from __future__ import annotations

import json
import random
import string
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, normalizers, pre_tokenizers

from deepseek.engines.text.source import word_cache as module
from deepseek.engines.text.source.tokens import TOKENIZER_FILE, TextTokenizer
from deepseek.engines.text.source.word_cache import MAX_NEW_WORDS, MAX_WORD_LETTERS, WordCache
from support.nets.textfolders import tokenizer_of

MOST = 20
SIGNS = [*string.ascii_letters, *string.digits, *string.punctuation, *"    "]
PIECES = ["the", "Cat", "unwritten", "don't", "U.S.", "[CLS]", "[sep]", "\t", "\x01", "é", "猫", "z" * 33, "y" * 120]


def texts_of(seed: int, num_texts: int) -> list[str]:
    draw = random.Random(seed)
    return ["".join(draw.choices(SIGNS + PIECES, k=draw.randint(0, 40))) for _ in range(num_texts)]


def known(tokenizer: Tokenizer) -> WordCache:
    found = WordCache.for_tokenizer(tokenizer)
    assert found is not None
    return found


@pytest.fixture
def tokenizer() -> Tokenizer:
    return tokenizer_of("bert")


def asked(tokenizer: Tokenizer, text: str) -> tuple[list[int], bool]:
    """What the tokenizer itself makes of a text."""
    tokenizer.enable_truncation(MOST)
    found = tokenizer.encode(text)
    return found.ids, bool(found.overflowing)


def test_a_sentence_is_looked_up(tokenizer: Tokenizer) -> None:
    """[CLS] the cat ! [SEP], in whatever case."""
    vocab = tokenizer.get_vocab()
    ids = [vocab[piece] for piece in ("[CLS]", "the", "cat", "!", "[SEP]")]
    assert known(tokenizer).encode("The  CAT!", MOST) == (ids, False)


@pytest.mark.parametrize("lowercase", [True, False])
def test_what_is_looked_up_is_what_the_tokenizer_makes(tokenizer: Tokenizer, lowercase: bool) -> None:
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    looked_up = known(tokenizer)
    found = [(text, looked_up.encode(text, MOST)) for text in texts_of(0, 2_000) * 2]
    here = [(text, ids) for text, ids in found if ids is not None]
    assert len(here) > 500
    assert any(ids[1] for _, ids in here)
    for text, ids in here:
        assert ids == asked(tokenizer, text), text


def test_the_real_tokenizer(minilm: Path) -> None:
    """Both ways of TextTokenizer together, against the library alone."""
    vocab_size = 30_522
    tokenizer = TextTokenizer(minilm, vocab_size=vocab_size, max_tokens=MOST)
    alone = Tokenizer.from_file(str(minilm / TOKENIZER_FILE))
    alone.no_padding()
    texts = texts_of(1, 2_000)
    for text, row in zip(texts, tokenizer.encode(texts), strict=True):
        assert (row.ids.tolist(), row.truncated) == asked(alone, text), text


@pytest.mark.parametrize("text", ["a [CLS] b", "a [cls] b", "caf\u00e9", "a\tb", "a\x01b", "a\u00a0b"])
def test_what_is_not_plain_is_left_to_the_tokenizer(tokenizer: Tokenizer, text: str) -> None:
    assert known(tokenizer).encode(text, MOST) is None


def test_a_text_with_many_new_words_is_left_to_the_tokenizer_and_some_are_learned(tokenizer: Tokenizer) -> None:
    text = " ".join("abcdefgh"[: 2 * MAX_NEW_WORDS])
    looked_up = known(tokenizer)
    assert looked_up.encode(text, MOST) is None
    assert looked_up.encode(text, MOST) == asked(tokenizer, text)
    assert looked_up.encode("q" * (MAX_WORD_LETTERS + 1), MOST) is None


def test_what_is_kept_has_a_bound(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WORDS", 3)
    looked_up = known(tokenizer)
    for text in ("a b", "c d", "e a"):
        assert looked_up.encode(text, MOST) == asked(tokenizer, text)
        assert len(looked_up._known) <= 3


def _whitespace(tokenizer: Tokenizer) -> None:
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()


def _accents(tokenizer: Tokenizer) -> None:
    tokenizer.normalizer = normalizers.NFD()


def _bare(tokenizer: Tokenizer) -> None:
    tokenizer.normalizer = None


@pytest.mark.parametrize("change", [_whitespace, _accents, _bare])
def test_a_tokenizer_of_another_kind_is_not_looked_up(tokenizer: Tokenizer, change: Any) -> None:
    change(tokenizer)
    assert WordCache.for_tokenizer(tokenizer) is None


def test_neither_is_one_of_bytes() -> None:
    made = tokenizer_of("roberta")
    assert json.loads(made.to_str())["model"]["type"] == "BPE"
    assert WordCache.for_tokenizer(made) is None
