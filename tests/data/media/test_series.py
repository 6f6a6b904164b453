"""Series from lists, JSON, .npy and CSV: the values, and a mask of where there are any."""

from __future__ import annotations

import dataclasses
import io
import json
import random
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepseek.data.media.series import SeriesReader, open_series
from deepseek.data.media.source import BrokenError, Source
from deepseek.errors import InputError

VALUES = np.array([[0.5, 20.0], [1.5, 21.0], [2.5, 22.0]])
READER = SeriesReader(3, (1.0, 2.0))


def npy(values: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, values, **options)
    return file.getvalue()


def source(value: Any) -> Source:
    return open_series(value, root=None, row=7, column="sensor")


def broken(value: Any, reader: SeriesReader = READER) -> str:
    with pytest.raises(BrokenError) as caught:
        reader.read(source(value))
    assert caught.value.expected
    assert caught.value.fix
    assert "row 7, column 'sensor'" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        VALUES.tolist(), tuple(map(tuple, VALUES.tolist())), VALUES, list(VALUES), json.dumps(VALUES.tolist()),
        npy(VALUES), npy(np.asfortranarray(VALUES)), npy(VALUES.astype(">f4")), npy(VALUES.astype(np.float16)),
        b"0.5,20\n1.5,21\n2.5,22\n", b"a;b\r\n0.5;20\r\n1.5;21\r\n2.5;22", b"\xef\xbb\xbf0.5\t20\n1.5\t21\n\n2.5\t22\n",
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_every_form_gives_the_same_array(value: Any) -> None:
    array = READER.read(source(value))
    assert array.dtype == READER.dtype == "float32"
    assert array.shape == READER.shape == (4, 3)
    assert array.tolist() == [*VALUES.T.tolist(), [1.0] * 3, [1.0] * 3]


@pytest.mark.parametrize(
    "value",
    [
        [[0.5, None], [None, 21.0], [2.5, 22]], "[[0.5, null], [NaN, 21.0], [2.5, 22]]",
        npy(np.array([[0.5, np.nan], [np.nan, 21], [2.5, 22]])), b"a,b\n0.5,\n NA ,21\n2.5,22\n",
    ],
    ids=["list", "json", "npy", "csv"],
)  # fmt: skip
def test_what_is_missing_is_masked_and_holds_the_mean_of_training(value: Any) -> None:
    assert READER.read(source(value)).tolist() == [[0.5, 1.0, 2.5], [2.0, 21.0, 22.0], [1, 0, 1], [0, 1, 1]]


def test_a_shorter_series_is_padded_where_a_longer_one_is_cut() -> None:
    short, long = source([[7.0]]), source([[1.0], [2.0], [3.0], [4.0]])
    last, first = SeriesReader(3, (-1.0,)), SeriesReader(3, (-1.0,), keep="first")
    assert last.read(short).tolist() == [[-1, -1, 7], [0, 0, 1]]
    assert first.read(short).tolist() == [[7, -1, -1], [1, 0, 0]]
    assert last.read(long).tolist() == [[2, 3, 4], [1, 1, 1]]
    assert first.read(long).tolist() == [[1, 2, 3], [1, 1, 1]]


def test_one_list_is_one_channel_and_all_may_be_missing() -> None:
    assert SeriesReader(2, (9.0,)).read(source([1, 2])).tolist() == [[1, 2], [1, 1]]
    assert SeriesReader(2, (9.0,)).read(source([None, None])).tolist() == [[9, 9], [0, 0]]


def test_columns_are_found_by_the_names_of_training() -> None:
    reader = SeriesReader.fit([source(b"heart,breath\n60,12\n80,18\n")])
    assert (reader.names, reader.fill, reader.length) == (("heart", "breath"), (70.0, 15.0), 2)
    assert reader.read(source(b"breath,extra,heart\n12,0,60\n"))[:, 1].tolist() == [60, 12, 1, 1]
    assert "no column 'breath'" in broken(b"heart,rate\n60,12\n", reader)
    assert reader.read(source([[60, 12]]))[:, 1].tolist() == [60, 12, 1, 1]


def test_fit_finds_channels_length_and_means_of_what_is_there() -> None:
    reader = SeriesReader.fit([source([[1.0, None], [3.0, None]]), source([[5.0, None]] * 4), source(VALUES)])
    assert reader == SeriesReader(4, ((1 + 3 + 20 + 4.5) / 9, 21.0))
    assert SeriesReader(**json.loads(json.dumps(dataclasses.asdict(reader)))) == reader
    assert SeriesReader.fit([source([0.0] * 5_000)]).length == 4_096
    assert SeriesReader.fit([source([None])]).fill == (0.0,)
    with pytest.raises(BrokenError, match="has 1 channels"):
        SeriesReader.fit([source(VALUES), source([1.0])])
    with pytest.raises(InputError, match="no series"):
        SeriesReader.fit([])
    with pytest.raises(InputError, match="keep"):
        SeriesReader(3, (0.0,), keep="middle")
    with pytest.raises(InputError, match="one channel"):
        SeriesReader(3, ())


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([[1, 2], [3]], "ragged: moment 1 (from 0) has 1 values, the first has 2"),
        ([[1, 2], 3], "ragged: moment 1 (from 0) has 3"),
        ("[[1, 2], [3, 4, 5]]", "ragged: moment 1"),
        (b"1,2\n3\n", "ragged: line 2 has 1 cells, not 2"),
        ([[1, 2], [3, "4"]], "holds '4' at moment 1, channel 1"),
        ([[1, True]], "holds True at moment 0, channel 1"),
        ([[1, [2]]], "holds [2] at moment 0, channel 1"),
        ('[[1, "a patient"]]', "holds 'a patient' at moment 0, channel 1"),
        (b"x,y\n1,2\n3,high\n", "holds 'high' in line 3, column 2"),
        (b"1,5\n2,inf\n", "holds inf at moment 1, channel 1"),
        ([[1, float("-inf")]], "holds -inf at moment 0, channel 1"),
        ("[[1, 1e999]]", "holds inf"),
        ([[1, 1e300]], "holds 1e+300"),
        ([[1, 10**400]], "beyond 1e308"),
        (npy(np.array([[1, None]]), allow_pickle=True), "Python objects"),
        (npy(np.array([["a", "b"]])), "holds <U1"),
        (npy(VALUES + 1j), "complex128"),
        (npy(np.zeros((2, 2, 2))), "shape (2, 2, 2)"),
        (npy(np.float64(1)), "shape ()"),
        (npy(VALUES)[:-1], "cut off: 47 of 48 bytes"),
        (npy(VALUES)[:9], "no .npy file"),
        (npy(np.zeros((0, 2))), "no moment"),
        ("[]", "no moment"),
        ("[[], []]", "no moment"),
        ("[[1, 2", "no JSON"),
        ("[" * 100_000, "no JSON"),
        (b"\xff\xfe\x00", "neither .npy, JSON nor text"),
        (b"a,b\n", "no moment"),
        (b"a,a\n1,2\n", "two columns of one name"),
        ([1.0, 2.0], "has 1 channels. Expected: 2"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_faults_are_named_with_their_place(value: Any, said: str) -> None:
    assert said in broken(value)


def test_an_array_that_claims_a_petabyte_takes_no_memory() -> None:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (10**14, 2)})
    tracemalloc.start()
    assert "cut off" in broken(file.getvalue() + bytes(100))
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_an_object_array_is_never_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "sprung",)

    data = npy(np.array([Trap()], object), allow_pickle=True)
    assert b"sprung" in data
    broken(data)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("data", [npy(VALUES), b"a,b\n0.5,20\n1.5,21\n", json.dumps(VALUES.tolist()).encode()])
def test_damaged_bytes_never_end_in_another_error(data: bytes) -> None:
    random.seed(0)
    for _ in range(500):
        changed = bytearray(data)
        for _ in range(random.randint(1, 4)):
            changed[random.randrange(len(data))] = random.randrange(256)
        try:
            array = READER.read(source(bytes(changed[: random.randrange(1, len(data) + 1)])))
        except BrokenError:
            continue
        assert array.shape == READER.shape
        assert np.isfinite(array).all()


def test_a_path_below_the_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "7.npy").write_bytes(npy(VALUES))
    read = READER.read(open_series("7.npy", root=tmp_path, row=7, column="sensor"))
    assert np.array_equal(read[:2], VALUES.T)


def test_vibration_of_a_real_bearing(shared_data: Path) -> None:
    import pyarrow.parquet as pq

    raw = pq.read_table(shared_data / "femto-bearing" / "learning_raw.parquet", columns=["horizontal", "vertical"])
    sources = [
        source(np.column_stack([row["horizontal"], row["vertical"]]) / 1000) for row in raw.slice(0, 5).to_pylist()
    ]
    reader = SeriesReader.fit(sources)
    assert reader.shape == (4, 2_560)
    assert reader.read(sources[0])[2:].all()
    assert 0.1 < reader.read(sources[0])[0].std() < 5  # g
