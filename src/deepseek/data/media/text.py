"""Free text as a modality: bytes of any encoding to text, text to a fixed number of token ids.

    reader = TextReader.fit(["The card was lost", "卡丢了"], num_tokens=64)
    reader.read("my card is gone")                  # int64 (64,), 0 behind the last token

Words are split as BERT does (Chinese by character) and joined from pieces by byte-pair encoding (Sennrich et al. 2016,
arXiv 1508.07909, section 3.2), trained by the package `tokenizers` on the training texts and kept in the bundle as its
JSON. Its WordPiece would give other pieces in each run: marks within a word get their numbers in the order of a hash.

What such a tokenizer makes of a text between two blanks depends on nothing around it, so the ids of a word are looked
up once and kept: a text of 512 tokens then takes a quarter of the time. Any other tokenizer reads each text whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from deepseek.data.media.source import BrokenError
from deepseek.errors import InputError
from deepseek.extras import need

MAX_CHARACTERS = 1_000_000  # of one text; what lies behind the last token is never read
#: Tried in this order. GB 18030 holds what GBK and GB 2312 can say; Latin-1 would take anything, so it is not tried.
ENCODINGS = ("utf-8-sig", "gb18030")
_BYTE_ORDER_MARKS = {
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
#: The blanks that the normaliser knows: it drops all other marks of control, and parts words at other spaces itself.
_WORD = re.compile(r"[^ \t\n\r]+")
_MAX_CACHED_WORDS, _MAX_CACHED_WORD_CHARACTERS = 100_000, 32  # words whose ids are kept, and their letters
_PAD, _UNKNOWN, _START = "[PAD]", "[UNK]", "[CLS]"


def decode_text(data: bytes, name: str = "the text") -> str:
    """The text in the bytes of a file: by its mark, else UTF-8, else GB 18030. BrokenError when none of them fits or
    what comes out is not text.

    >>> decode_text("卡丢了".encode("gbk")), decode_text("Grüße".encode("utf-16"))
    ('卡丢了', 'Grüße')
    """
    marked = next((coding for mark, coding in _BYTE_ORDER_MARKS.items() if data.startswith(mark)), None)
    for coding in (marked,) if marked else ENCODINGS:
        try:
            text = data.decode(coding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise BrokenError(
        f"{name} is not text that can be read", expected="UTF-8, UTF-16 or UTF-32 with a mark, or GB 18030",
        fix="save it as UTF-8",
    )  # fmt: skip


@dataclass(frozen=True)
class TextReader:
    """Texts as token ids. `tokenizer` is the JSON of the package `tokenizers`."""

    tokenizer: str
    num_tokens: int = 64  # of a text, what is longer is cut; at least 2
    own_ends: bool = False  # begin and end a text as the tokenizer itself does: one that a pretrained model brings
    pad_id: int = 0  # behind the last token

    kind: ClassVar[str] = "text"
    suffixes: ClassVar[tuple[str, ...]] = (".txt",)

    def __post_init__(self) -> None:
        if not 2 <= self.num_tokens <= 4_096:
            raise InputError(
                f"text.num_tokens is {self.num_tokens}", expected="between 2 and 4,096", fix="give such a number"
            )
        if self.pad_id < 0:
            raise InputError(f"text.pad_id is {self.pad_id}", expected="0 or more", fix="give the padding's id")

    @classmethod
    def fit(cls, texts: Sequence[str], *, num_tokens: int = 64, vocab_size: int = 8_000) -> Self:
        """Train the tokenizer on `texts`. InputError when there is no word in them."""
        tokenizers = need("tokenizers", extra="text")
        tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token=_UNKNOWN))
        tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True, handle_chinese_chars=True)
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
        tokenizer.train_from_iterator(
            (text[:MAX_CHARACTERS] for text in texts),
            tokenizers.trainers.BpeTrainer(
                vocab_size=vocab_size, special_tokens=[_PAD, _UNKNOWN, _START], show_progress=False
            ),
        )
        if tokenizer.get_vocab_size() <= 3:
            raise InputError("there is no word in the texts", expected="texts to learn from", fix="give such texts")
        return cls(tokenizer.to_str(), num_tokens)

    @classmethod
    def from_tokenizer(cls, tokenizer: str, texts: Sequence[str], *, most: int, pad_id: int = 0) -> Self:
        """A reader with the tokenizer.json of a pretrained model, unchanged. It keeps as many tokens as the longest of
        `texts` has, at most `most`."""
        longest = cls(tokenizer, most, own_ends=True, pad_id=pad_id)
        used = max((int((longest.read(text) != pad_id).sum()) for text in texts), default=2)
        return cls(tokenizer, max(2, used), own_ends=True, pad_id=pad_id)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.num_tokens,)

    @property
    def dtype(self) -> str:
        return "int64"

    @property
    def vocab_size(self) -> int:
        return int(self._tokenizer.get_vocab_size())

    def read(self, text: str) -> NDArray[np.int64]:
        """Token ids (num_tokens,) of one text: a start, the tokens, then padding."""
        ids: NDArray[np.int64] = self.read_many([text])[0]
        return ids

    def read_many(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Token ids (N, num_tokens) of N texts, as read() gives them."""
        token_ids = np.full((len(texts), self.num_tokens), self.pad_id, np.int64)
        first = 0 if self.own_ends else 1
        if first:
            token_ids[:, 0] = self._start
        cut = [text[: min(MAX_CHARACTERS, 64 * self.num_tokens)] for text in texts]
        if self._is_by_word:
            ids_of_text = [self._by_word(text) for text in cut]
        else:
            encodings = self._tokenizer.encode_batch(cut, add_special_tokens=self.own_ends)
            ids_of_text = [encoding.ids for encoding in encodings]
        for row, ids in enumerate(ids_of_text):
            kept = ids[: self.num_tokens - first]
            token_ids[row, first : first + len(kept)] = kept
        return token_ids

    def _by_word(self, text: str) -> list[int]:
        """The ids of at least the first num_tokens - 1 tokens of a text, or of all."""
        cached, words = self._word_cache, _WORD.findall(text)
        uncached: dict[str, list[int]] = {}  # words too long to be met again
        ids: list[int] = []
        for start in range(0, len(words), self.num_tokens):
            window = words[start : start + self.num_tokens]
            unknown = [word for word in dict.fromkeys(window) if word not in cached]
            if len(cached) + len(unknown) > _MAX_CACHED_WORDS:
                cached = self.__dict__["_word_cache"] = {}  # another one: a thread may be looking into the old one
                unknown = list(dict.fromkeys(window))
            if unknown:
                for word, coded in zip(
                    unknown, self._tokenizer.encode_batch(unknown, add_special_tokens=False), strict=True
                ):
                    (cached if len(word) <= _MAX_CACHED_WORD_CHARACTERS else uncached)[word] = coded.ids
            look = partial(_cached_ids, cached, uncached) if uncached else cached.__getitem__
            ids.extend(chain.from_iterable(map(look, window)))
            if len(ids) >= self.num_tokens:
                break
        return ids

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where in the text each token after the start stands: what attention to a token is shown on. An end that the
        tokenizer sets stands at (0, 0)."""
        encoded = self._tokenizer.encode(text[: 64 * self.num_tokens], add_special_tokens=self.own_ends)
        offsets = encoded.offsets[1 : self.num_tokens] if self.own_ends else encoded.offsets[: self.num_tokens - 1]
        return [(int(start), int(end)) for start, end in offsets]

    @cached_property
    def _tokenizer(self) -> Any:
        tokenizers = need("tokenizers", extra="text")
        try:
            tokenizer = tokenizers.Tokenizer.from_str(self.tokenizer)
        except BaseException as error:
            if is_tokenizer_fault(error):
                raise _tokenizer_error(str(error)[:200]) from error
            raise
        if self.own_ends:
            tokenizer.no_padding()  # the files of all-MiniLM would pad every text to 128 tokens
            tokenizer.enable_truncation(self.num_tokens)
        elif tokenizer.token_to_id(_START) is None:
            raise _tokenizer_error(f"it has no {_START}")
        return tokenizer

    @cached_property
    def _is_by_word(self) -> bool:
        """Whether blanks part its words and nothing crosses them: as fit() makes it."""
        if self.own_ends:
            return False
        parts = json.loads(self._tokenizer.to_str())
        added = parts["added_tokens"]
        unusual_tokens = [token for token in added if token["lstrip"] or token["rstrip"] or " " in token["content"]]
        kinds = [(parts[name] or {}).get("type") for name in ("normalizer", "pre_tokenizer", "model")]
        return kinds == ["BertNormalizer", "BertPreTokenizer", "BPE"] and not unusual_tokens and not parts["truncation"]

    @cached_property
    def _word_cache(self) -> dict[str, list[int]]:
        return {}

    @cached_property
    def _start(self) -> int:
        return int(self._tokenizer.token_to_id(_START))


def _cached_ids(cached: dict[str, list[int]], uncached: dict[str, list[int]], word: str) -> list[int]:
    return uncached[word] if word in uncached else cached[word]


def is_tokenizer_fault(error: BaseException) -> bool:
    """Whether the package tokenizers failed: its own faults have no class of their own, and a panic of its Rust side is
    no Exception."""
    return type(error) in (Exception, ValueError) or type(error).__name__ == "PanicException"


def _tokenizer_error(why: str) -> InputError:
    return InputError(
        f"the tokenizer cannot be read: {why}", expected="JSON of the package tokenizers", fix="make the bundle again"
    )
