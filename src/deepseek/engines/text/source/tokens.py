"""Texts into token ids by the folder's tokenizer.json, cut to what the model reads.

    tokenizer = TextTokenizer(folder, vocab_size=30522, max_tokens=256)
    tokens = tokenizer.encode(["a text", "another"])       # Tokens: .lengths (2,), [0].ids, [0].truncated

Only `tokenizers` is needed (Rust; the GIL is released meanwhile); plain text is mostly looked up (word_cache.py). The
tokenizer's own truncation and padding are left out: the files of all-MiniLM would pad every text to 128 tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from deepseek.data.media.text import is_tokenizer_fault
from deepseek.engines.text.source.folder import read_file
from deepseek.engines.text.source.word_cache import WordCache
from deepseek.errors import InputError, IntegrityError
from deepseek.extras import need

TOKENIZER_FILE = "tokenizer.json"
SETTINGS_FILE = "tokenizer_config.json"
MAX_TOKENIZER_BYTES = 64 * 2**20
MAX_TEXT_LETTERS = 4 * 2**20
MASK_TOKENS = ("[MASK]", "<mask>")
#: A long text is tokenized as far as it is read: this many letters for a token, then twice as many, and so on.
LETTERS_PER_TOKEN = 16
#: What stands near the end of a piece may have been cut within a word.
EDGE_LETTERS = 512
_COPY_AGAIN = "copy the folder again from where it was made"


@dataclass(frozen=True, slots=True)
class TokenRow:
    """The tokens of one text."""

    ids: NDArray[np.int64]  # (L,), L >= 1, with the special tokens
    truncated: bool  # whether the text was longer than the model reads
    text: str = ""  # as it was tokenized; with offsets and words for token classification alone
    offsets: tuple[tuple[int, int], ...] = ()  # (L,) first letter and end in `text`
    words: tuple[int | None, ...] = ()  # (L,) the number of the word; None for a special token

    def __len__(self) -> int:
        return len(self.ids)


class Tokens(Sequence[TokenRow]):
    """The tokens of several texts, not padded."""

    __slots__ = ("rows",)

    def __init__(self, rows: Sequence[TokenRow]) -> None:
        self.rows = tuple(rows)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each text (N,)."""
        return np.array([len(row) for row in self.rows], np.int64)

    @overload
    def __getitem__(self, index: int) -> TokenRow: ...
    @overload
    def __getitem__(self, index: slice) -> Tokens: ...
    def __getitem__(self, index: int | slice) -> TokenRow | Tokens:
        return Tokens(self.rows[index]) if isinstance(index, slice) else self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[TokenRow]:
        return iter(self.rows)  # Sequence's own indexes one row after the other


class TextTokenizer:
    """The tokenizer of a folder. Safe to share between threads: nothing is changed after opening."""

    def __init__(self, folder: Path, *, vocab_size: int, max_tokens: int) -> None:
        data = read_file(folder, TOKENIZER_FILE, limit=MAX_TOKENIZER_BYTES)
        module = need("tokenizers", extra="text")
        self._tokenizer: Any = _call_tokenizer(folder, module.Tokenizer.from_buffer, data)
        self._tokenizer.no_padding()
        self._folder, self.max_tokens = folder, max_tokens
        largest = max(self._tokenizer.get_vocab(True).values(), default=-1)
        if not 0 <= largest < vocab_size:
            raise IntegrityError(
                f"{TOKENIZER_FILE} in {folder} has ids up to {largest}, but the model knows {vocab_size} tokens",
                expected="a tokenizer whose vocabulary fits the model's",
                fix="take tokenizer.json and weights of one and the same model",
            )
        if max_tokens <= self._tokenizer.num_special_tokens_to_add(False):
            raise IntegrityError(
                f"the model in {folder} reads {max_tokens} tokens, not more than the special ones",
                expected="a longest text of some tokens",
                fix="correct max_seq_length or max_position_embeddings",
            )
        self._tokenizer.enable_truncation(max_tokens)
        self._word_cache = _call_tokenizer(folder, WordCache.for_tokenizer, self._tokenizer)

    @property
    def mask_id(self) -> int | None:
        """The id that stands for a hidden token; None where the tokenizer has none."""
        ids = (self._tokenizer.token_to_id(name) for name in MASK_TOKENS)
        return next((int(token_id) for token_id in ids if token_id is not None), None)

    def encode(self, texts: Sequence[str], *, with_offsets: bool = False) -> Tokens:
        """Tokens of `texts`. InputError, which gives the text's number from 0, for one that is no text of whole
        letters, or longer than MAX_TEXT_LETTERS."""
        for number, text in enumerate(texts):
            _check_text(text, number)
        cache = None if with_offsets else self._word_cache
        cached = [None if cache is None else cache.encode(text, self.max_tokens) for text in texts]
        rest = self._encodings([text for text, ids in zip(texts, cached, strict=True) if ids is None], with_offsets)
        rows = []
        for number, (text, ids_and_cut) in enumerate(zip(texts, cached, strict=True)):
            if ids_and_cut is None:
                row = _token_row(next(rest), text, with_offsets=with_offsets)
            else:
                row = TokenRow(np.array(ids_and_cut[0], np.int64), ids_and_cut[1])
            if not len(row):
                raise InputError(
                    f"text {number} gives no token", expected="a text with letters", fix="leave empty texts out"
                )
            rows.append(row)
        return Tokens(rows)

    def _encodings(self, texts: Sequence[str], with_offsets: bool) -> Iterator[Any]:
        """The tokenizer's encoding of each text."""
        encode = self._tokenizer.encode_batch if with_offsets else self._tokenizer.encode_batch_fast
        most = self.max_tokens * LETTERS_PER_TOKEN + EDGE_LETTERS
        short = [text for text in texts if len(text) <= most]
        encoded = iter(_call_tokenizer(self._folder, encode, short) if short else [])
        for text in texts:
            yield next(encoded) if len(text) <= most else self._encode_start(text, most)

    def _encode_start(self, text: str, most: int) -> Any:
        """The encoding of a long text, of which only the beginning is read: it is cut anyway."""
        while True:
            encoding = _call_tokenizer(self._folder, self._tokenizer.encode, text[:most])
            end = max((last for _, last in encoding.offsets), default=0)
            if most >= len(text) or (encoding.overflowing and end <= most - EDGE_LETTERS):
                return encoding
            most *= 2


def _token_row(encoding: Any, text: str, *, with_offsets: bool) -> TokenRow:
    ids = np.array(encoding.ids, np.int64)
    truncated = bool(encoding.overflowing)
    if not with_offsets:
        return TokenRow(ids, truncated)
    return TokenRow(ids, truncated, text, tuple(encoding.offsets), tuple(encoding.word_ids))


def _check_text(text: object, number: int) -> None:
    if not isinstance(text, str):
        raise InputError(f"text {number} is no text", expected="a string", fix="send a string for each text")
    if len(text) > MAX_TEXT_LETTERS:
        raise InputError(
            f"text {number} has {len(text)} letters",
            expected=f"at most {MAX_TEXT_LETTERS}",
            fix="split it into several texts",
        )
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"text {number} holds half a letter (a lone surrogate) at place {error.start}",
            expected="whole letters",
            fix="clean the text",
        ) from error


def _call_tokenizer(folder: Path, call: Any, argument: Any) -> Any:
    """The result of a call into the tokenizer. IntegrityError for the faults that its library panics with."""
    try:
        return call(argument)
    except BaseException as error:
        if is_tokenizer_fault(error):
            raise IntegrityError(
                f"{TOKENIZER_FILE} in {folder} does not work: {str(error)[:200]}",
                expected="a tokenizer that tokenizers can load and run",
                fix=_COPY_AGAIN,
            ) from error
        raise
