"""Vocabulary pruning: keeps the word pieces that some texts need, and every letter so that other texts can be read.

    kept_ids = needed_pieces(tokenizer, ids, max_pieces=3_000)    # of the teacher's tokenizer, in their order
    smaller = shrink_tokenizer(tokenizer, kept_ids)               # a student's tokenizer.json; id i is kept_ids[i]

Embeddings are half of a small BERT. WordPiece takes the longest piece that it has, so texts whose pieces are all kept
are read as before, and other words fall into smaller pieces.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence

from deepseek.contracts import JsonObject
from deepseek.engines.text import TextModel
from deepseek.engines.text.source.folder import read_json
from deepseek.engines.text.source.tokens import TOKENIZER_FILE
from deepseek.errors import InputError

#: A tokenizer.json of the tokenizers library: most of its keys pass through unchanged.
TokenizerJson = JsonObject

CONTINUATION_PREFIX = "##"  # of a piece that continues a word


def is_wordpiece(tokenizer: TokenizerJson) -> bool:
    """Whether a tokenizer.json is WordPiece, the one kind that can be made smaller here."""
    model = tokenizer.get("model")
    return isinstance(model, Mapping) and model.get("type") == "WordPiece" and isinstance(model.get("vocab"), dict)


def check_distillable(model: TextModel) -> None:
    """InputError unless a student can be made of the model: a BERT with WordPiece that gives one label to a text."""
    architecture = model.architecture
    known = architecture.family == "bert" and model.task == "sequence-classification" and not architecture.multi_label
    if not known or not is_wordpiece(read_json(model.path, TOKENIZER_FILE)):
        raise InputError(
            f"{model.path} is no BERT with WordPiece that gives one label to a text, so no student is made of it",
            expected="such a classifier",
            fix="leave --train out, or build a student yourself: deepseek.compress.distill takes any two modules",
        )


def needed_pieces(tokenizer: TokenizerJson, ids: Sequence[Sequence[int]], *, max_pieces: int) -> list[int]:
    """Ids that stay, at most `most`: special ones, letters, then those that `ids` hold most often. InputError where not
    even the letters fit."""
    vocab: dict[str, int] = tokenizer["model"]["vocab"]
    special = {int(token["id"]) for token in tokenizer.get("added_tokens", ())}
    unknown = vocab.get(tokenizer["model"].get("unk_token", ""))
    letters = {
        number
        for piece, number in vocab.items()
        if len(piece.removeprefix(CONTINUATION_PREFIX)) == 1 and piece.isascii()
    }
    always = special | letters | ({unknown} if unknown is not None else set())
    if len(always) >= max_pieces:
        raise InputError(
            f"a student of this size has room for {max_pieces} pieces of words, "
            f"and {len(always)} are letters and signs",
            expected="more room", fix="allow a larger share of the teacher",
        )  # fmt: skip
    counts = Counter(number for row in ids for number in row)
    often = sorted((number for number in counts if number not in always), key=lambda number: (-counts[number], number))
    return sorted(always | set(often[: max_pieces - len(always)]))


def shrink_tokenizer(tokenizer: TokenizerJson, kept_ids: Sequence[int]) -> TokenizerJson:
    """A tokenizer.json with these pieces alone, numbered anew.

    >>> small = {"model": {"type": "WordPiece", "vocab": {"[UNK]": 0, "a": 1, "the": 2}}, "added_tokens": []}
    >>> shrink_tokenizer(small, [0, 2])["model"]["vocab"]
    {'[UNK]': 0, 'the': 1}
    """
    new_ids = {number: index for index, number in enumerate(kept_ids)}
    smaller: TokenizerJson = json.loads(json.dumps(tokenizer))
    model = smaller["model"]
    model["vocab"] = {piece: new_ids[number] for piece, number in model["vocab"].items() if number in new_ids}
    smaller["added_tokens"] = [token | {"id": new_ids[token["id"]]} for token in smaller.get("added_tokens", ())]
    smaller["truncation"] = smaller["padding"] = None
    processor = smaller.get("post_processor") or {}
    for token in processor.get("special_tokens", {}).values():  # TemplateProcessing
        token["ids"] = [new_ids[number] for number in token["ids"]]
    for name in ("sep", "cls"):  # BertProcessing: [piece, id]
        if name in processor:
            processor[name][1] = new_ids[processor[name][1]]
    return smaller
