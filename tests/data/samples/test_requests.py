"""Rows on their way from a front end to an engine process: the samples of training, whatever they are sent with."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from deepseek.data.media.source import BrokenError
from deepseek.data.samples.requests import decode_requests, describe_record, encode_records, first_fault, pack_requests
from deepseek.engines.process import wire
from deepseek.errors import InputError, TooLargeError
from support.rows import films, scans
from support.rows.sampled import preparer_of

COLUMNS = ("film", "ct", "cough", "pulse", "photo", "note", "age")


def coded(data: bytes) -> dict[str, Any]:
    return {"b64": base64.b64encode(data).decode()}


@pytest.fixture(scope="module")
def slices() -> list[bytes]:
    stored = np.random.default_rng(0).integers(900, 1_200, (5, 6, 6)).astype(np.int16)
    return list(scans.series_of(stored).values())


@pytest.fixture(scope="module")
def rows(slices: list[bytes]) -> list[dict[str, Any]]:
    preparer = preparer_of(COLUMNS)
    sound = np.sin(np.arange(24_000) / 9).astype(np.float32)
    film = films.film([k / 25 for k in range(12)], lambda k: films.grey(20 * k), sound=sound)
    examples = {column.name: None for column in preparer.media}
    whole = {
        **examples, "film": coded(film), "ct": {"files": [coded(each)["b64"] for each in slices]},
        "pulse": [[1, None], [2, 3.5]], "note": "coughs at night", "age": 44.0, "sex": "m",
    }  # fmt: skip
    return [whole, {**examples, "age": None, "sex": "f"}, {**examples, "pulse": "[[1, 2]]", "age": 30.0, "sex": "f"}]


def test_what_arrives_is_what_training_would_have_read(rows: list[dict[str, Any]]) -> None:
    preparer = preparer_of(COLUMNS)
    wanted = preparer.rows(rows)
    sent, flags = encode_records(preparer, rows)
    assert flags == wanted.flags
    decoded_rows, faults = decode_requests(preparer, pack_requests([sent[2:], sent[:2]]))
    assert first_fault(faults) is None
    order = [2, 0, 1]
    assert decoded_rows.arrays.keys() == wanted.arrays.keys()
    for name, array in wanted.arrays.items():
        np.testing.assert_array_equal(decoded_rows.arrays[name], array[order])
    assert decoded_rows.arrays["film.sound.there"].tolist() == [False, True, False]


@pytest.mark.parametrize("columns", [("note", "age"), ("photo", "note")])
def test_rows_without_any_file_arrive_too(columns: tuple[str, ...]) -> None:
    preparer = preparer_of(columns)
    record = {"photo": None, "note": "a", "age": 3.0, "sex": "m"}
    rows = [{name: record[name] for name in preparer.columns()}] * 2
    frame = wire.pack_frame((1, "run", "m", {}), pack_requests([encode_records(preparer, rows)[0]]))
    ((_, arrays),) = wire.FrameReader().feed(frame)
    decoded_rows, faults = decode_requests(preparer, arrays)
    assert first_fault(faults) is None
    for name, array in preparer.rows(rows).arrays.items():
        np.testing.assert_array_equal(decoded_rows.arrays[name], array)


def test_faults_name_the_row_of_the_request_and_keep_what_they_were(rows: list[dict[str, Any]]) -> None:
    preparer = preparer_of(COLUMNS)
    other = {**rows[1], "ct": coded(b"no scan"), "photo": coded(b"no picture")}
    one, two = encode_records(preparer, [rows[0]])[0], encode_records(preparer, [rows[2], other])[0]
    _, faults = decode_requests(preparer, pack_requests([one, two]))
    assert [bool(fault) for fault in faults] == [False, False, True]
    error = first_fault(faults)
    assert isinstance(error, BrokenError)
    assert "row 1, column 'ct'" in error.message
    assert error.status == 400


def test_rows_are_the_same_where_every_byte_is(rows: list[dict[str, Any]], slices: list[bytes]) -> None:
    preparer = preparer_of(COLUMNS)
    fewer = {**rows[0], "ct": {"files": [coded(each)["b64"] for each in slices[:-1]]}}
    one, same, other = (encode_records(preparer, [row])[0].identity() for row in (rows[0], dict(rows[0]), fewer))
    assert hash(one) == hash(same)
    assert one == same
    assert one != other


@pytest.mark.parametrize("value", ["a.png", "/etc/hostname", "https://example.org/a.png", {"path": "a.png"}, 7, ["a"]])
def test_nothing_is_opened_that_a_row_names(rows: list[dict[str, Any]], value: Any) -> None:
    with pytest.raises(InputError, match="row 1, column 'photo'"):
        encode_records(preparer_of(COLUMNS), [rows[0], {**rows[0], "photo": value}])


def test_a_row_without_any_value_is_refused() -> None:
    with pytest.raises(InputError, match="row 1 has no value in any of photo, cough"):
        encode_records(
            preparer_of(("photo", "cough")), [{"photo": coded(b"x"), "cough": None}, {"photo": None, "cough": ""}]
        )


def test_limits_hold_for_all_files_of_a_value_together() -> None:
    preparer = preparer_of(("ct",))
    limits = type(preparer.limits)(max_bytes=10)
    small = type(preparer)(preparer.media, None, (), limits)
    with pytest.raises(TooLargeError, match="row 0, column 'ct'"):
        encode_records(small, [{"ct": {"files": [coded(b"123456")["b64"]] * 2}}])


def test_a_record_in_words_holds_no_file(rows: list[dict[str, Any]]) -> None:
    description = describe_record(preparer_of(COLUMNS), {**rows[0], "note": "a" * 100, "photo": "7.png"})
    assert description["ct"] == "(volume)"
    assert description["pulse"] == "(series)"
    assert description["photo"] == "7.png"
    assert description["cough"] is None
    assert description["note"] == "a" * 60 + " ..."
    assert description["table"] == "age 44.0, sex m"
