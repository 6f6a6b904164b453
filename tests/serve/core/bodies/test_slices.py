"""Large JSON in slices: the same values and the same refusals as in one call, and no call that lasts."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from deepseek.errors import DeepseekError, MalformedError, TooLargeError
from deepseek.serve.core import json_body
from deepseek.serve.core.bodies import slices, structure
from deepseek.serve.core.json_body import decode_object
from deepseek.serve.protocols.rows import read_numeric_columns

TEXTS = ['a"b\\,[]{}:', "é😀\n", "", "x:y", 'é\\😀"x' * 9, "abc\n\u2028" * 7, "\\" * 31]
SIGNS = b'[]{},:"\\ 1a\xff'
LARGE = 40_000


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices so small that every body is cut, and cut in every place."""
    monkeypatch.setattr(slices, "SLICE_BYTES", 20)
    monkeypatch.setattr(slices, "TEXT_SLICE_BYTES", 24)
    monkeypatch.setattr(slices, "PAUSE_S", 0)
    monkeypatch.setattr(structure, "BLOCK_BYTES", 7)


def random_value(chance: random.Random, depth: int = 0) -> Any:
    kind = chance.random()
    if depth > 3 or kind < 0.4:
        return chance.choice([1, 2.5, -3e5, None, True, 12345678901234567890, *TEXTS])
    if kind < 0.7:
        return [random_value(chance, depth + 1) for _ in range(chance.randint(0, 4))]
    keys = (chance.choice('ab\\"[') + str(number) for number in range(chance.randint(0, 4)))
    return {key: random_value(chance, depth + 1) for key in keys}


def outcome(body: bytes) -> Any:
    try:
        return decode_object(body)
    except DeepseekError as error:
        return type(error)


@pytest.mark.parametrize("seed", range(60))
def test_a_body_in_slices_is_what_it_is_in_one_call(small: None, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    chance = random.Random(seed)
    value = {"r": random_value(chance), "q": random_value(chance)}
    whole = json.dumps(value, ensure_ascii=seed % 2 == 0, indent=seed % 3 or None).encode()
    changed = bytearray(whole)
    for _ in range(chance.randint(1, 2)):
        place = chance.randrange(len(changed))
        changed[place : place + chance.randint(0, 1)] = bytes([chance.choice(SIGNS)][: chance.randint(0, 1)])
    parsed_rows = []
    for limit in (-1, 1 << 30):
        monkeypatch.setattr(json_body, "INLINE_BYTES", limit)
        parsed_rows.append((decode_object(whole), outcome(bytes(changed))))
    assert parsed_rows[0] == parsed_rows[1]
    assert parsed_rows[0][0] == value


def test_an_error_names_the_byte_of_the_whole_body() -> None:
    body = b'{"rows": [' + b"[1, 2.5], " * LARGE + b"[?]]}"
    with pytest.raises(MalformedError, match=rf"byte {body.index(b'?')}\)"):
        decode_object(body)
    with pytest.raises(MalformedError, match=r"not UTF-8 \(byte 300001\)"):
        decode_object(b'{"a": "' + b"\xc3\xa9" * 149_997 + b'\xff"}')


@pytest.mark.parametrize(
    "end", [b"]", b"]]", b"}]", b",]}", b"]}}", b'], "a": 2}', b'], "rows": []}', b'], "a" 1}', b"], 1: 2}", b"]} x"]
)
def test_what_is_wrong_at_the_end_of_a_large_body_is_found(end: bytes) -> None:
    for begin in (b'{"a": 1, "rows": [', b' {"a": "' + b"x" * 200_000 + b'", "rows": ['):
        with pytest.raises(MalformedError):
            decode_object(begin + b"[1, 2.5], " * LARGE + b"[3]" + end)


def fill(begin: bytes, unit: bytes, end: bytes) -> bytes:
    return begin + unit * ((2**24 - len(begin) - len(end)) // len(unit)) + end


HOSTILE: dict[str, bytes] = {
    "nested arrays": fill(b'{"instances":[', b"[[[[[[[[]]]]]]]],", b"1]}"),
    "empty arrays": fill(b'{"rows":[', b"[],", b"[]]}"),
    "empty objects": fill(b'{"instances":[', b"{},", b"{}]}"),
    "numbers": fill(b'{"instances":[', b"1,", b"1]}"),
    "texts": fill(b'{"instances":[', b'"ab",', b'""]}'),
    "keys": b'{"instances":[{' + b",".join(b'"%d":1' % number for number in range(70_000)) + b"}]}",
    "escapes": fill(b'{"instances":"', b"\\n", b'"}'),
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_would_fill_the_memory_is_refused_by_its_structure(body: bytes) -> None:
    with pytest.raises(TooLargeError):
        decode_object(body)


@pytest.mark.parametrize("unit", [b"[", b'{"a":'])
def test_nesting_without_end_is_refused_where_it_becomes_so(unit: bytes) -> None:
    with pytest.raises(MalformedError, match="nested too deeply"):
        decode_object(fill(b'{"instances":', unit, b""))


def test_a_number_without_end_is_no_number() -> None:
    with pytest.raises(MalformedError, match="more digits"):
        decode_object(fill(b'{"a": 0.', b"1", b"}"))


def test_no_call_decodes_more_than_a_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock of Python is held for as long as one call takes: the largest is what counts."""
    sizes: list[int] = []

    def seen(decode: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
        def decoded(data: bytes) -> Any:
            sizes.append(len(data))
            return decode(data)

        return decoded

    monkeypatch.setattr(json_body, "_decode", seen(msgspec.json.decode))
    body = b'{"a": {"b": [%b]}, "c": "%b", "d": %b}' % (
        b", ".join(b'[{"x": [1, 2], "y": "z"}]' for _ in range(LARGE)), b"0123456789" * 300_000, b"9" * 30_000 + b".5",
    )  # fmt: skip
    decode_object(body.replace(b"9" * 30_000, b"9"))
    assert sum(sizes) >= len(body) * 0.9
    assert max(sizes) <= slices.TEXT_SLICE_BYTES + 2


def test_rows_of_numbers_in_slices_are_the_matrix_that_they_are_in_one_call() -> None:
    rows = [[number, number / 7, None] for number in range(12_000)]
    small, large = ({"columns": ["a", "b", "c"], "reasons": 2, "rows": part} for part in (rows[:500], rows))
    for sent in (small, large, dict(reversed(large.items()))):
        matrix = read_numeric_columns(json.dumps(sent).encode(), ("x",), 16_384)
        assert matrix is not None
        columns, num_reasons = matrix
        assert (columns.names, num_reasons, len(columns)) == (("a", "b", "c"), 2, len(sent["rows"]))
        assert columns.values[499].tolist()[:2] == [499, 499 / 7]
        assert columns.values[499][2] != columns.values[499][2]
    with pytest.raises(TooLargeError, match="rows"):
        read_numeric_columns(json.dumps(large).encode(), ("x",), 10_000)


@pytest.mark.parametrize(
    "sent",
    [
        '{"rows": [%s], "rows": [[1]]}', '{"rows": [%s, [1, 2]]}', '{"rows": [%s, ["1"]]}', '{"rows": [%s], "a": 1}',
        '{"rows": [%s, ]}', '{"rows": [%s], "columns": [1]}', '{"columns": [], "rows": [%s]}', '[{"rows": [%s]}]',
    ],
)  # fmt: skip
def test_rows_that_are_not_numbers_alone_are_left_to_who_reads_the_body_next(sent: str) -> None:
    assert read_numeric_columns((sent % ", ".join(["[1.25]"] * LARGE)).encode(), ("x",), LARGE + 10) is None
