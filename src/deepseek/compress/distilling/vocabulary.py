"""Fewer pieces of words: those that some texts need, with every single letter, so that other texts can be read, too.

    kept = needed_pieces(tokenizer, texts, most=3_000)         # ids of the given tokenizer, in their order
    smaller = shrink_tokenizer(tokenizer, kept)                     # the tokenizer.json of a student; id i is kept[i]

Embeddings are half of a small BERT. WordPiece takes the longest piece that it has, so texts whose pieces are all kept
are read as before, and other words fall into smaller pieces.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from deepseek.engines.text import TextModel
from deepseek.engines.text.source.folder import read_json
from deepseek.engines.text.source.tokens import TOKENIZER_FILE
from deepseek.errors import InputError

CONTINUATION_PREFIX = "##"  # before a piece within a word


def is_wordpiece(tokenizer: Mapping[str, Any]) -> bool:
    """Of a tokenizer.json that can be made smaller here."""
    model = tokenizer.get("model")
    return isinstance(model, Mapping) and model.get("type") == "WordPiece" and isinstance(model.get("vocab"), dict)


def check_distillable(model: TextModel) -> None:
    """InputError unless a student is made of such a model: a BERT that gives one label to a text, with WordPiece."""
    architecture = model.architecture
    known = architecture.family == "bert" and model.task == "sequence-classification" and not architecture.multi_label
    if not known or not is_wordpiece(read_json(model.path, TOKENIZER_FILE)):
        raise InputError(
            f"{model.path} is no BERT with WordPiece that gives one label to a text, so no student is made of it",
            expected="such a classifier",
            fix="leave --train out, or build a student yourself: deepseek.compress.distill takes any two modules",
        )


def needed_pieces(tokenizer: Mapping[str, Any], ids: Sequence[Sequence[int]], *, most: int) -> list[int]:
    """Ids that stay, at most `most`: special ones, letters, then those that `ids` hold most often. InputError where not
    even the letters fit."""
    vocab: dict[str, int] = tokenizer["model"]["vocab"]
    special = {int(one["id"]) for one in tokenizer.get("added_tokens", ())}
    unknown = vocab.get(tokenizer["model"].get("unk_token", ""))
    letters = {
        number
        for piece, number in vocab.items()
        if len(piece.removeprefix(CONTINUATION_PREFIX)) == 1 and piece.isascii()
    }
    always = special | letters | ({unknown} if unknown is not None else set())
    if len(always) >= most:
        raise InputError(
            f"a student of this size has room for {most} pieces of words, and {len(always)} are letters and signs",
            expected="more room", fix="allow a larger share of the teacher",
        )  # fmt: skip
    counts = Counter(number for row in ids for number in row)
    often = sorted((number for number in counts if number not in always), key=lambda number: (-counts[number], number))
    return sorted(always | set(often[: most - len(always)]))


def shrink_tokenizer(tokenizer: Mapping[str, Any], kept: Sequence[int]) -> dict[str, Any]:
    """A tokenizer.json with these pieces alone, numbered anew.

    >>> small = {"model": {"type": "WordPiece", "vocab": {"[UNK]": 0, "a": 1, "the": 2}}, "added_tokens": []}
    >>> shrink_tokenizer(small, [0, 2])["model"]["vocab"]
    {'[UNK]': 0, 'the': 1}
    """
    place = {number: index for index, number in enumerate(kept)}
    made: dict[str, Any] = json.loads(json.dumps(tokenizer))
    model = made["model"]
    model["vocab"] = {piece: place[number] for piece, number in model["vocab"].items() if number in place}
    made["added_tokens"] = [one | {"id": place[one["id"]]} for one in made.get("added_tokens", ())]
    made["truncation"] = made["padding"] = None
    processor = made.get("post_processor") or {}
    for one in processor.get("special_tokens", {}).values():  # TemplateProcessing
        one["ids"] = [place[number] for number in one["ids"]]
    for name in ("sep", "cls"):  # BertProcessing: [piece, id]
        if name in processor:
            processor[name][1] = place[processor[name][1]]
    return made
