"""Free text: bytes of any encoding, and token ids that are the same after a round trip through a bundle."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pytest

from deepseek.bundle.fields import parse_value
from deepseek.data.media.source import BrokenError
from deepseek.data.media.text import TextReader, decode_text
from deepseek.errors import InputError
from support.nets.textfolders import tokenizer_of

TEXTS = ["The card was lost at the station", "my card is gone", "卡丢了, 请冻结我的卡", "the card is lost"]


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "gb18030", "gbk"])
def test_a_text_is_read_in_the_encodings_of_its_countries(coding: str) -> None:
    assert decode_text("请冻结我的卡, please".encode(coding)) == "请冻结我的卡, please"


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"\xff\xff\xff\xff", b"ab\0cd"])
def test_bytes_that_are_no_text_are_named(data: bytes) -> None:
    with pytest.raises(BrokenError, match=r"notes/7\.txt is not text"):
        decode_text(data, "notes/7.txt")


def test_a_text_has_the_same_ids_after_a_round_trip_through_json() -> None:
    reader = TextReader.fit(TEXTS, num_tokens=12)
    again = parse_value(TextReader, asdict(reader), "record")
    assert again == reader
    for text in [*TEXTS, "new words: hologram", "", "   "]:
        np.testing.assert_array_equal(again.read(text), reader.read(text))


def test_the_same_texts_give_the_same_tokenizer_in_every_process() -> None:
    texts = [f"patient {row} coughs since day {row % 9} with a fever of {row % 7} degrees" for row in range(100)]
    program = f"from deepseek.data.media.text import TextReader; print(TextReader.fit({texts!r}).tokenizer)"
    outputs = {
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()
        for _ in range(3)
    }
    assert outputs == {TextReader.fit(texts).tokenizer}


def test_ids_are_cut_padded_and_begin_with_the_start() -> None:
    reader = TextReader.fit(TEXTS, num_tokens=6)
    ids = reader.read_many(["card", "the card is lost the card is lost", ""])
    assert ids.shape == (3, 6)
    assert ids.dtype == np.int64
    assert (ids[:, 0] == ids[0, 0]).all()
    assert ids[0, 0] > 1
    assert ids[0, 1] > 0
    assert not ids[0, 2:].any()
    assert ids[1].all()
    assert not ids[2, 1:].any()


def test_case_is_no_difference_and_chinese_is_read_by_character() -> None:
    reader = TextReader.fit(TEXTS, num_tokens=12)
    np.testing.assert_array_equal(reader.read("THE CARD"), reader.read("the card"))
    assert np.count_nonzero(reader.read("我的卡")) == 4  # start and three characters


def test_spans_point_into_the_text() -> None:
    reader = TextReader.fit(TEXTS, num_tokens=12)
    text = "My card 卡"
    assert [text[start:end] for start, end in reader.spans(text)] == ["My", "card", "卡"]


def test_a_text_far_longer_than_what_is_read_costs_no_more() -> None:
    reader = TextReader.fit(TEXTS, num_tokens=8)
    np.testing.assert_array_equal(reader.read("card " * 1_000_000), reader.read("card " * 100))


def test_texts_without_a_word_are_refused() -> None:
    with pytest.raises(InputError, match="no word"):
        TextReader.fit(["", "  "])


@pytest.mark.parametrize("num_tokens", [1, 0, -3, 5_000])
def test_a_length_that_makes_no_sense_is_refused(num_tokens: int) -> None:
    with pytest.raises(InputError, match="num_tokens"):
        TextReader("{}", num_tokens)


def test_a_tokenizer_that_was_changed_is_named() -> None:
    with pytest.raises(InputError, match="tokenizer cannot be read"):
        TextReader('{"model": 3}', 8).read("card")


def test_a_pretrained_tokenizer_sets_its_own_ends_and_its_own_padding() -> None:
    tokenizer = tokenizer_of("roberta")
    tokenizer.enable_padding(length=40, pad_id=1)  # as files of sentence-transformers ask for
    reader = TextReader.from_tokenizer(tokenizer.to_str(), ["abc", "ab"], most=16, pad_id=1)
    assert reader.num_tokens == 5  # as long as the longest: <s> a b c </s>
    ids = reader.read_many(["ab", "abcdef"])
    vocab = tokenizer.get_vocab()
    assert ids[0].tolist() == [vocab["<s>"], vocab["a"], vocab["b"], vocab["</s>"], 1]
    assert ids[1, -1] == vocab["</s>"]  # what is cut ends, too
    assert reader.spans("ab") == [(0, 1), (1, 2), (0, 0)]


def test_words_that_are_looked_up_give_the_ids_of_the_whole_text() -> None:
    """Marks of control, odd spaces, marks of the tokenizer in the text, accents and Chinese: against the tokenizer."""
    reader = TextReader.fit(["the card was lost, and the cat sat", "卡丢了 naïve Straße"] * 3, num_tokens=40)
    draw = random.Random(0)
    letters = [chr(code) for code in (*range(0x180), *range(0x300, 0x310), *range(0x2000, 0x2030), 0x3000, 0x1F600)]
    letters += ["[CLS]", "[PAD] ", "卡", "丢", "ß", "Σ", "\ufeff"] * 8 + [" ", "the", "cat", "\t"] * 25
    for _ in range(300):
        text = "".join(draw.choice(letters) for _ in range(draw.randrange(90)))
        wanted = reader._tokenizer.encode(text, add_special_tokens=False).ids[:39]
        assert reader.read(text)[1:].tolist() == wanted + [0] * (39 - len(wanted)), repr(text)


def test_what_is_kept_of_words_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepseek.data.media.text._MAX_CACHED_WORDS", 20)
    reader = TextReader.fit(["a b c d e f"] * 3, num_tokens=30)
    texts = [" ".join(f"w{row}x{at}" for at in range(9)) for row in range(9)]
    whole = TextReader(reader.tokenizer, 30)
    first = reader.read_many(texts)
    np.testing.assert_array_equal(np.stack([whole.read(text) for text in reversed(texts)])[::-1], first)
    assert 0 < len(reader._word_cache) <= 20
    reader.read("卡" * 33)
    assert all(len(word) <= 32 for word in reader._word_cache)
