"""Samples of several modalities: numbers, texts and files in one record, the same in training and in serving."""

from __future__ import annotations

import base64
import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepseek.data import find_kinds
from deepseek.data.media.kinds import find_media
from deepseek.data.media.source import BrokenError
from deepseek.data.samples.decode import CHUNK_ROWS, DONE_FILE, decode_table
from deepseek.data.samples.preparer import SamplePreparer, fit_samples
from deepseek.data.table.table import Table
from deepseek.errors import InputError, IntegrityError, MissingError

Image = pytest.importorskip("PIL.Image")
NUM = 100


def picture(value: int) -> bytes:
    draw = np.random.default_rng(value)
    sink = io.BytesIO()
    Image.fromarray(draw.integers(0, 256, (20, 24), np.uint8)).save(sink, "PNG")
    return sink.getvalue()


def write(root: Path) -> Table:
    for row in range(NUM):
        (root / f"{row}.png").write_bytes(picture(row))
    return rows_of()


def rows_of() -> Table:
    """Rows of age, note and picture; every seventh has no picture, every fifth no note."""
    rows = np.arange(NUM)
    return Table(
        {
            "age": (rows % 60 + 20).astype(float),
            "note": np.array([None if r % 5 == 0 else f"patient {r} coughs since day {r % 9}" for r in rows], object),
            "ct": np.array([None if r % 7 == 0 else f"{r}.png" for r in rows], object),
            "ill": (rows % 2).astype(float),
        },
        {"age": "number", "note": "text", "ct": "text", "ill": "number"},
    )  # fmt: skip


def fitted(root: Path, table: Table) -> SamplePreparer:
    kinds = find_kinds(table, target="ill", overrides={"note": "text"}) | find_media(table, root=root)
    return fit_samples(table, kinds, target="ill", root=root)


def test_kinds_of_files_are_told_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "1.dcm").write_bytes(b"x")
    names = {
        "a": "x.PNG",
        "b": "y.wav",
        "c": "z.nii.gz",
        "d": "study",
        "e": "v.mp4",
        "f": "free text about a.png file",
        "g": "x.xyz",
    }
    table = Table({k: np.array([v] * 10, object) for k, v in names.items()}, dict.fromkeys(names, "text"))
    assert find_media(table, root=tmp_path) == {"d": "volume"}  # names of files that are elsewhere
    for name in set(names.values()) - {"study", "about a.png file"}:
        (tmp_path / name).write_bytes(b"x")
    assert find_media(table, root=tmp_path) == {"a": "image", "b": "audio", "c": "volume", "d": "volume", "e": "video"}


def test_a_column_with_one_odd_value_keeps_its_kind(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"x")
    table = Table({"a": np.array(["x.png"] * 19 + ["lost"], object)}, {"a": "text"})
    assert find_media(table, root=tmp_path) == {"a": "image"}


def test_samples_hold_values_and_say_what_is_missing(tmp_path: Path) -> None:
    table = write(tmp_path)
    preparer = fitted(tmp_path, table)
    samples = preparer.rows(table.records(), root=tmp_path)
    assert preparer.names == ("note", "ct", "table")
    assert samples.arrays["ct"].shape == (NUM, 1, 20, 24)
    assert samples.arrays["ct.there"].tolist() == [row % 7 != 0 for row in range(NUM)]
    assert samples.arrays["note.there"].tolist() == [row % 5 != 0 for row in range(NUM)]
    assert samples.arrays["table.there"].all()
    np.testing.assert_array_equal(samples.arrays["ct"][8, 0], np.asarray(Image.open(tmp_path / "8.png")))
    assert not samples.arrays["ct"][7].any()


def test_serving_reads_the_same_numbers_from_bytes(tmp_path: Path) -> None:
    table = write(tmp_path)
    preparer = SamplePreparer.from_bytes(fitted(tmp_path, table).to_bytes())
    record = table.records()[8]
    trained = preparer.rows([record], root=tmp_path)
    coded = base64.b64encode((tmp_path / "8.png").read_bytes()).decode()
    for value in ({"b64": coded}, f"data:image/png;base64,{coded}", (tmp_path / "8.png").read_bytes()):
        served = preparer.rows([{**record, "ct": value}])
        for name, array in trained.arrays.items():
            np.testing.assert_array_equal(served.arrays[name], array)


def test_a_server_reads_no_paths(tmp_path: Path) -> None:
    table = write(tmp_path)
    with pytest.raises(InputError, match=r"row 0, column 'ct'.*a server reads no files"):
        fitted(tmp_path, table).rows([table.records()[8]])


def test_a_broken_file_fails_or_is_masked_as_the_user_chose(tmp_path: Path) -> None:
    table = write(tmp_path)
    preparer = fitted(tmp_path, table)
    (tmp_path / "9.png").write_text("this is no picture")
    (tmp_path / "10.png").unlink()
    with pytest.raises(BrokenError, match=r"9\.png \(row 9, column 'ct'\)"):
        preparer.rows(table.records(), root=tmp_path)
    samples = preparer.rows(table.records(), root=tmp_path, broken="mask")
    assert [(fault.row, fault.column) for fault in samples.faults] == [(9, "ct"), (10, "ct")]
    assert not samples.arrays["ct.there"][9:11].any()
    assert samples.arrays["ct.there"][11]


def test_a_path_that_leaves_the_folder_is_never_masked(tmp_path: Path) -> None:
    table = write(tmp_path)
    record = {**table.records()[8], "ct": "../secret.png"}
    (tmp_path.parent / "secret.png").write_bytes(picture(0))
    with pytest.raises(InputError, match="leaves the folder"):
        fitted(tmp_path, table).rows([record], root=tmp_path, broken="mask")


def test_a_sample_without_any_modality_is_named(tmp_path: Path) -> None:
    table = write(tmp_path).drop(["age"])
    preparer = fit_samples(table, {"ct": "image", "note": "text"}, target="ill", root=tmp_path)
    with pytest.raises(InputError, match=r"row 35 has no value in any of note, ct"):
        preparer.rows(table.take(np.arange(30, 40)).records(), root=tmp_path, first_row=30)


def test_a_bad_number_is_named_by_its_row_in_the_whole_table(tmp_path: Path) -> None:
    table = write(tmp_path)
    preparer, records = fitted(tmp_path, table), table.take(np.arange(64, 70)).records()
    records[3]["age"] = "old"
    with pytest.raises(InputError, match="row 67, column 'age': 'old' does not fit"):
        preparer.rows(records, root=tmp_path, first_row=64)


@pytest.mark.parametrize("name", ["table", "ct.there"])
def test_a_column_that_is_called_like_an_array_of_ours_is_refused(tmp_path: Path, name: str) -> None:
    texts = Table(
        {name: np.array(["a cough", "no cough"], object), "ill": np.arange(2.0)}, {name: "text", "ill": "number"}
    )
    with pytest.raises(InputError, match=f"is called '{name}'"):
        fit_samples(texts, {name: "text"}, target="ill")


def test_a_column_that_is_not_sent_is_named(tmp_path: Path) -> None:
    table = write(tmp_path)
    record = table.records()[8]
    del record["ct"]
    with pytest.raises(InputError, match="row 0 has no column 'ct'"):
        fitted(tmp_path, table).rows([record], root=tmp_path)


@pytest.mark.parametrize("data", [b"", b"{", b'{"version": 1}', b'{"version": 1, "media": [{"name": "a"}]}', b"[]"])
def test_bytes_that_are_no_preprocessing_are_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="preprocessing of samples"):
        SamplePreparer.from_bytes(data)


def test_nothing_to_learn_from_is_refused(tmp_path: Path) -> None:
    table = write(tmp_path)
    with pytest.raises(InputError, match="no column is left"):
        fit_samples(table, {}, target="ill", root=tmp_path)


# Decoding to disk ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_decoding_to_disk_gives_the_same_arrays(tmp_path: Path, workers: int) -> None:
    (tmp_path / "data").mkdir()
    table = write(tmp_path / "data")
    preparer = fitted(tmp_path / "data", table)
    decoded_table = decode_table(preparer, table, tmp_path / "scratch", root=tmp_path / "data", workers=workers)
    wanted = preparer.rows(table.records(), root=tmp_path / "data")
    assert set(decoded_table.arrays) == set(wanted.arrays)
    for name, array in wanted.arrays.items():
        np.testing.assert_array_equal(decoded_table.arrays[name], array)


def test_broken_files_are_masked_and_counted_by_their_rows(tmp_path: Path) -> None:
    table = write(tmp_path)
    preparer = fitted(tmp_path, table)
    for row in (40, 97):
        (tmp_path / f"{row}.png").write_bytes(b"no picture")
    decoded_table = decode_table(preparer, table, tmp_path / "scratch", root=tmp_path, broken="mask", workers=2)
    assert [(fault.row, fault.column) for fault in decoded_table.faults] == [(40, "ct"), (97, "ct")]
    for workers in (0, 2):
        with pytest.raises(BrokenError, match=r"2 files cannot be read: .*row 40, .*row 97, ") as caught:
            decode_table(preparer, table, tmp_path / "other", root=tmp_path, workers=workers)
        assert caught.value.message.count("Expected") == 0
    (tmp_path / "97.png").write_bytes((tmp_path / "96.png").read_bytes())
    with pytest.raises(BrokenError, match=r"^40\.png \(row 40, column 'ct'\)"):
        decode_table(preparer, table, tmp_path / "other", root=tmp_path, workers=0)


def test_what_was_decoded_is_not_decoded_again_unless_a_file_changed(tmp_path: Path) -> None:
    table = write(tmp_path)
    preparer = fitted(tmp_path, table)
    progress: list[float] = []
    decode_table(preparer, table, tmp_path / "scratch", root=tmp_path, progress=lambda _, share: progress.append(share))
    assert len(progress) == -(-NUM // CHUNK_ROWS)
    decode_table(preparer, table, tmp_path / "scratch", root=tmp_path, progress=lambda *_: pytest.fail("decoded again"))
    (tmp_path / "50.png").write_bytes(picture(1_000))
    again = decode_table(preparer, table, tmp_path / "scratch", root=tmp_path)
    np.testing.assert_array_equal(again.arrays["ct"][50, 0], np.asarray(Image.open(tmp_path / "50.png")))


def test_a_note_that_was_cut_off_is_decoded_again(tmp_path: Path) -> None:
    table = write(tmp_path)
    preparer = fitted(tmp_path, table)
    first = decode_table(preparer, table, tmp_path / "scratch", root=tmp_path)
    notes = tmp_path / "scratch" / DONE_FILE
    notes.write_text("\n".join(notes.read_text().splitlines()[:2]) + '\n{"chunk": 9')
    progress: list[float] = []
    again = decode_table(
        preparer, table, tmp_path / "scratch", root=tmp_path, progress=lambda _, share: progress.append(share)
    )
    assert len(progress) == -(-NUM // CHUNK_ROWS) - 2
    np.testing.assert_array_equal(again.arrays["ct"], first.arrays["ct"])
    assert len(notes.read_text().splitlines()) == -(-NUM // CHUNK_ROWS)


KILLED = """
import os, sys
from pathlib import Path
from deepseek.data import image

def deadly(self, source, read=image.ImageReader.read):
    if b"deadly" in source.data:
        os.kill(os.getpid(), 9)  # as a decoder does that writes where it may not
    return read(self, source)

image.ImageReader.read = deadly
"""


@pytest.mark.slow
def test_a_file_on_which_the_decoder_dies_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    """The reader is replaced in the decoding processes by one that is killed on a certain file."""
    (tmp_path / "data").mkdir()
    table = write(tmp_path / "data")
    (tmp_path / "preparer.json").write_bytes(fitted(tmp_path / "data", table).to_bytes())
    (tmp_path / "data" / "40.png").write_bytes(picture(40) + b"deadly")
    (tmp_path / "sitecustomize.py").write_text(KILLED)
    program = f"""
from pathlib import Path
import numpy as np
from deepseek.data.samples.decode import decode_table
from deepseek.data.samples.preparer import SamplePreparer
from deepseek.data.table.table import Table
if __name__ == "__main__":
    rows = range({NUM})
    names = np.array([f"{{row}}.png" for row in rows], object)
    preparer = SamplePreparer.from_bytes(Path({str(tmp_path / "preparer.json")!r}).read_bytes())
    table = Table({{"age": np.arange({NUM}) + 20.0, "note": np.array(["a cough"] * {NUM}, object), "ct": names}},
                  {{"age": "number", "note": "text", "ct": "text"}})
    found = decode_table(preparer, table, Path({str(tmp_path / "scratch")!r}), root=Path({str(tmp_path / "data")!r}),
                   broken="mask", workers=2)
    print([fault.row for fault in found.faults], found.faults[0].message, int(found.arrays["ct.there"].sum()))
"""
    (tmp_path / "program.py").write_text(program)
    paths = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, tmp_path / "program.py"], capture_output=True, text=True, timeout=120, check=False,
        env=os.environ | {"PYTHONPATH": paths},
    )  # fmt: skip
    assert done.stdout.startswith("[40] row 40, column 'ct': the decoder died on '40.png'"), done.stderr[-2_000:]
    assert done.stdout.split()[-1] == str(NUM - 1)


def test_a_run_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    table = write(tmp_path / "data")
    preparer = fitted(tmp_path / "data", table)
    (tmp_path / "preparer.json").write_bytes(preparer.to_bytes())
    program = f"""
import importlib.util, os
from pathlib import Path
spec = importlib.util.spec_from_file_location("own", {str(Path(__file__))!r})
own = importlib.util.module_from_spec(spec)
spec.loader.exec_module(own)
data, table = Path({str(tmp_path / "data")!r}), own.rows_of()
def die(what, share):
    if share > 0.5:
        os.kill(os.getpid(), {int(signal.SIGKILL)})
own.decode_table(own.fitted(data, table), table, Path({str(tmp_path / "scratch")!r}), root=data, progress=die)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2_000:]
    progress: list[Any] = []
    decoded_table = decode_table(
        preparer, table, tmp_path / "scratch", root=tmp_path / "data", progress=lambda *each: progress.append(each)
    )
    assert 1 <= len(progress) < -(-NUM // CHUNK_ROWS)
    np.testing.assert_array_equal(
        decoded_table.arrays["ct"], preparer.rows(table.records(), root=tmp_path / "data").arrays["ct"]
    )


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    table = write(tmp_path)
    preparer = fitted(tmp_path, table)
    (tmp_path / "20.png").unlink()
    with pytest.raises(MissingError, match=r"row 20, column 'ct': there is no file '20\.png'"):
        decode_table(preparer, table, tmp_path / "scratch", root=tmp_path)
