"""Text to tokens, and tokens back to text while they come.

    tokenizer = LlmTokenizer.open(folder, vocab_size=50257)
    ids = tokenizer.encode("To be", max_tokens=100)
    decoder = tokenizer.decoder(stop=("\\n",))
    decoder.take(ids[0])                    # text that is final, "" while a character or a stop may still be unfinished

Decoding goes by the bytes of each token: UTF-8 that is cut between two tokens waits for its end, broken bytes become
one replacement character, and no token is decoded twice.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from deepseek.engines.llm.model.convert import token_bytes
from deepseek.engines.llm.model.folder import read_json
from deepseek.errors import InputError
from deepseek.extras import need


class LlmTokenizer:
    """The tokenizer of a model. Safe to share between threads."""

    def __init__(self, tokenizer: Any, pieces: list[bytes], special: frozenset[int]) -> None:
        self._tokenizer = tokenizer
        self.pieces = pieces  # (V,) what each token stands for
        self.special = special  # tokens that are no text
        self._longest = max(map(len, pieces))

    @classmethod
    def open(cls, folder: Path, vocab_size: int) -> LlmTokenizer:
        """The tokenizer of a folder. InputError when tokenizer.json is not one, or not for `vocab_size` tokens."""
        library = need("tokenizers", extra="llm")
        raw = read_json(folder / "tokenizer.json")
        pieces = token_bytes(raw, vocab_size)
        with _TokenizerErrors():
            tokenizer = library.Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        special = frozenset(entry["id"] for entry in raw.get("added_tokens") or [] if entry.get("special") is True)
        return cls(tokenizer, pieces, special)

    def encode(self, text: str, *, max_tokens: int, special: bool = True) -> list[int]:
        """The token ids of a text. InputError for more than `max_tokens`, which is seen without tokenizing a book.

        `special` adds the tokens that the tokenizer puts around a text; leave them out where a chat template has put
        them there already.
        """
        try:
            num_bytes = len(text.encode())
        except UnicodeEncodeError:
            raise InputError(
                "the text holds half of a character (a lone surrogate)", expected="Unicode text", fix="repair the text"
            ) from None
        if num_bytes > self._longest * max_tokens:
            raise prompt_too_long_error(f"{num_bytes} bytes", max_tokens)
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=special).ids
        if len(ids) > max_tokens:
            raise prompt_too_long_error(f"{len(ids)} tokens", max_tokens)
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids, without special ones."""
        return b"".join(self.pieces[index] for index in ids if index not in self.special).decode("utf-8", "replace")

    def decoder(self, stop: Sequence[str] = ()) -> StreamDecoder:
        """A decoder for one text that comes token by token, and ends before one of `stop`."""
        return StreamDecoder(self, stop)


class _TokenizerErrors:
    """Turns what the library tokenizers raises for a file that it cannot read into an InputError: Exception itself, not
    a class of its own."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if kind is Exception:
            raise InputError(
                f"tokenizer.json cannot be read: {str(error)[:200]}",
                expected="a tokenizer of the library tokenizers",
                fix="save the tokenizer again with save_pretrained()",
            ) from None


class StreamDecoder:
    """Decodes one text that comes token by token, as far as no later token can change it."""

    def __init__(self, tokenizer: LlmTokenizer, stop: Sequence[str]) -> None:
        self._tokenizer, self._stop = tokenizer, tuple(stop)
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._pending = ""  # may be the beginning of a stop
        self.stopped = False

    def take(self, token: int) -> str:
        """The text that became final with this token; "" after a stop."""
        if self.stopped or token in self._tokenizer.special:
            return ""
        return self._final_text(self._decode(self._tokenizer.pieces[token]))

    def finish(self) -> str:
        """The rest of the text, when no token follows."""
        if self.stopped:
            return ""
        rest = self._final_text(self._decode(b"", True))
        return rest if self.stopped else rest + self._pending

    def _final_text(self, new: str) -> str:
        text = self._pending + new
        stop_positions = [position for stop in self._stop if (position := text.find(stop)) >= 0]
        if stop_positions:
            self.stopped, self._pending = True, ""
            return text[: min(stop_positions)]
        keep = max((_overlap_length(text, stop) for stop in self._stop), default=0)
        self._pending = text[len(text) - keep :]
        return text[: len(text) - keep]


def _overlap_length(text: str, stop: str) -> int:
    """How many characters at the end of `text` begin `stop`.

    >>> _overlap_length("the EN", "END"), _overlap_length("the", "END")
    (2, 0)
    """
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)


def prompt_too_long_error(size: str, max_tokens: int) -> InputError:
    """The error for a prompt that leaves no room for an answer."""
    return InputError(
        f"the prompt has {size}", expected=f"at most {max_tokens} tokens", fix="shorten it, or send it in parts"
    )
