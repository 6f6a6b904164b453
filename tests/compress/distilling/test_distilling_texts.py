"""Texts that are made up, batches of like length, and a tokenizer with fewer pieces."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, processors

from deepseek.compress.distilling import TextBatches, augment_texts
from deepseek.compress.distilling.vocabulary import is_wordpiece, needed_pieces, shrink_tokenizer
from deepseek.errors import InputError
from support.nets.textfolders import LETTERS, SENTENCE, tokenizer_of

TEXTS = ["the cat sat on a mat and berlin is big", "i am very happy", "not at all good", "bad film"]


def test_made_up_texts_are_of_the_words_of_the_texts_and_set_by_the_seed() -> None:
    augmented = augment_texts(TEXTS, 400, seed=3)
    words = {word for text in TEXTS for word in text.split()}
    assert len(augmented) == 400
    assert {word for text in augmented for word in text.split()} == words
    assert all(text.strip() for text in augmented)
    assert augmented == augment_texts(TEXTS, 400, seed=3) != augment_texts(TEXTS, 400, seed=4)
    assert len(set(augmented)) > 200
    with pytest.raises(InputError, match="no words"):
        augment_texts(["  ", ""], 3)


def test_each_row_is_in_one_batch_of_an_epoch_with_what_belongs_to_it() -> None:
    draw = np.random.default_rng(0)
    ids = [[row + 1] * int(draw.integers(1, 30)) for row in range(100)]
    rows = TextBatches(ids, list(range(100)), np.arange(200, dtype=np.float32).reshape(100, 2), batch_size=8, seed=1)
    batches = list(rows)
    assert len(batches) == len(rows) == 13
    seen = [int(label) for batch in batches for label in batch["labels"]]
    assert sorted(seen) == list(range(100))
    for batch in batches:
        assert (batch["input_ids"][:, 0] == batch["labels"] + 1).all()
        assert (batch["teacher_logits"][:, 0] == 2 * batch["labels"]).all()
        assert (batch["attention_mask"].sum(1) == (batch["input_ids"] > 0).sum(1)).all()
    padding = sum(int((batch["attention_mask"] == 0).sum()) for batch in batches)
    assert padding < 0.15 * sum(map(len, ids))
    rows.set_epoch(1)
    again = [int(label) for batch in rows for label in batch["labels"]]
    assert again != seen
    assert set(next(iter(TextBatches(ids)))) == {"input_ids", "attention_mask"}


def test_rows_behind_the_first_come_in_turn() -> None:
    ids = [[row + 1] for row in range(13)]
    rows = TextBatches(ids, batch_size=4, num_always=4, num_parts=3)
    seen = []
    for epoch in range(4):
        rows.set_epoch(epoch)
        batches = list(rows)
        assert len(batches) == len(rows) == 2
        seen.append(sorted(int(each) for batch in batches for each in batch["input_ids"]))
    assert seen == [[1, 2, 3, 4, *others] for others in ([5, 6, 7], [8, 9, 10], [11, 12, 13], [5, 6, 7])]


@pytest.fixture
def whole(tmp_path: Path) -> dict[str, object]:
    tokenizer_of("bert").save(str(tmp_path / "tokenizer.json"))
    document: dict[str, object] = json.loads((tmp_path / "tokenizer.json").read_text())
    return document


def test_texts_whose_pieces_are_kept_are_read_as_before(whole: dict[str, object]) -> None:
    before = tokenizer_of("bert")
    texts = ["the cat is happy", "a big cat", "xylophone!"]
    kept = needed_pieces(whole, [before.encode(text).ids for text in texts], max_pieces=80)
    after = Tokenizer.from_str(json.dumps(shrink_tokenizer(whole, kept)))
    assert after.get_vocab_size() == len(kept) < before.get_vocab_size()
    for text in texts:
        assert after.encode(text).tokens == before.encode(text).tokens
        assert [kept[number] for number in after.encode(text).ids] == before.encode(text).ids
    # a word that no text held falls into letters, a letter that none held is unknown
    assert after.encode("berlin").tokens == ["[CLS]", *["b", "##e", "##r", "##l", "##i", "##n"], "[SEP]"]
    assert after.encode("猫").tokens == ["[CLS]", "[UNK]", "[SEP]"]


def test_special_tokens_are_found_under_their_new_numbers() -> None:
    pieces = ["zebra", *LETTERS, "the", "[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer = Tokenizer(models.WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.add_special_tokens(pieces[-4:])
    kinds = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", len(pieces) - 2), ("[SEP]", len(pieces) - 1)]
    )
    for kind in (kinds, processors.BertProcessing(("[SEP]", len(pieces) - 1), ("[CLS]", len(pieces) - 2))):
        tokenizer.post_processor = kind
        whole = json.loads(tokenizer.to_str())
        kept = needed_pieces(whole, [tokenizer.encode("the").ids], max_pieces=40)
        after = Tokenizer.from_str(json.dumps(shrink_tokenizer(whole, kept)))
        assert after.encode("the").ids == [number - 1 for number in tokenizer.encode("the").ids] == [29, 26, 30]


def test_where_there_is_room_for_few_the_frequent_pieces_stay(whole: dict[str, object]) -> None:
    vocab = tokenizer_of("bert").get_vocab()
    ids = [[vocab["cat"]] * 3, [vocab["berlin"]] * 2, [vocab["mat"]]]
    letters = len([piece for piece in vocab if len(piece.removeprefix("##")) == 1 and piece.isascii()]) + 5
    kept = needed_pieces(whole, ids, max_pieces=letters + 2)
    assert {word for word in SENTENCE.split() if vocab[word] in kept and len(word) > 1} == {"cat", "berlin"}
    with pytest.raises(InputError, match="has room for 10 pieces"):
        needed_pieces(whole, ids, max_pieces=10)


def test_other_tokenizers_are_not_made_smaller(tmp_path: Path, whole: dict[str, object]) -> None:
    tokenizer_of("roberta").save(str(tmp_path / "bpe.json"))
    assert is_wordpiece(whole)
    assert not is_wordpiece(json.loads((tmp_path / "bpe.json").read_text()))
