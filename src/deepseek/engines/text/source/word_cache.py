"""Token ids of plain text by looking its words up: BERT's tokenizer makes the same of a word whatever stands beside it.

    cache = WordCache.for_tokenizer(tokenizer)  # None for a tokenizer of another kind
    cache.encode("a text", 256)                 # ([101, 1037, 3793, 102], False), or None: the tokenizer has to do it

The tokenizer takes 24 us for a sentence, and three times as much with the caches that an engine has emptied, as it
looks each letter up in Unicode's tables. Of printable ASCII nothing is in those tables: words are runs of letters and
digits, every other sign is a word of its own (BertPreTokenizer), and case is all that is normalized (BertNormalizer).
What WordPiece makes of a word is asked of the tokenizer once and kept.
"""

from __future__ import annotations

import json
import re
from typing import Any

MAX_WORDS = 1 << 16  # that are kept, about 10 MB; then all are forgotten
MAX_WORD_LETTERS = 32  # of a word that is kept
MAX_TEXT_LETTERS = 8_192  # of longer ones most is cut, and the tokenizer reads the beginning alone
#: New words of a text that are learned; with more, the text costs less as a whole.
MAX_NEW_WORDS = 4
MAX_ADDED_TOKENS = 32  # tokens that are looked for in each text, for they are none of its words
_BERT_PARTS = ("BertNormalizer", "BertPreTokenizer", "WordPiece")
_split_words = re.compile("[0-9A-Za-z]+|[^0-9A-Za-z ]").findall


class WordCache:
    """The ids of words that the tokenizer has encoded before. Safe to share between threads: a word that two of them
    learn at once is the same."""

    def __init__(self, tokenizer: Any, first: list[int], last: list[int], added: tuple[str, ...], lower: bool) -> None:
        """`first` and `last` stand around each text; no text that holds one of `added` is looked up."""
        self._tokenizer = tokenizer
        self._first, self._last = first, last
        self._added = added
        self._lower = lower
        self._known: dict[str, list[int]] = {}

    @classmethod
    def for_tokenizer(cls, tokenizer: Any) -> WordCache | None:
        """A cache for a tokenizer of the `tokenizers` package that is BERT's in all its parts; None for others."""
        parts = json.loads(tokenizer.to_str())
        kinds = tuple((parts[part] or {}).get("type") for part in ("normalizer", "pre_tokenizer", "model"))
        added = [item["content"] for item in parts["added_tokens"]]
        probe = tokenizer.encode("a")
        if kinds != _BERT_PARTS or len(added) > MAX_ADDED_TOKENS or probe.special_tokens_mask.count(0) != 1:
            return None
        index = probe.special_tokens_mask.index(0)
        lower = bool(parts["normalizer"]["lowercase"])
        return cls(tokenizer, probe.ids[:index], probe.ids[index + 1 :], tuple(map(str.lower, added)), lower)

    def encode(self, text: str, most: int) -> tuple[list[int], bool] | None:
        """The ids of a text, cut to `most` with the special ones, and whether it was cut. None for a text that the
        tokenizer has to encode."""
        if not (text.isascii() and text.isprintable() and len(text) <= MAX_TEXT_LETTERS):
            return None
        lowered = text.lower()
        for token in self._added:
            if token in lowered:
                return None
        text_ids, num_new = self._first.copy(), 0
        for word in _split_words(lowered if self._lower else text):
            ids = self._known.get(word)
            if ids is None:
                num_new += 1
                if num_new > MAX_NEW_WORDS or len(word) > MAX_WORD_LETTERS:
                    return None
                ids = self._learn(word)
            text_ids += ids
        room = most - len(self._last)
        is_cut = len(text_ids) > room
        if is_cut:
            del text_ids[room:]
        text_ids += self._last
        return text_ids, is_cut

    def _learn(self, word: str) -> list[int]:
        if len(self._known) >= MAX_WORDS:
            self._known.clear()
        ids: list[int] = self._tokenizer.encode(word, add_special_tokens=False).ids
        self._known[word] = ids
        return ids
