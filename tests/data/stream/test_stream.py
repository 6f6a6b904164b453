"""Streams of samples from folders, tar files and Parquet: what is read, in which order, and how a pass goes on."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepseek.data.media.image import ImageReader
from deepseek.data.media.source import BrokenError
from deepseek.data.samples.preparer import MediaColumn, SamplePreparer, fit_samples
from deepseek.data.stream.shard_sampler import ShardSampler
from deepseek.data.stream.shards import Shards, open_folder
from deepseek.data.stream.shards_parquet import open_parquet
from deepseek.data.stream.shards_tar import open_tars
from deepseek.data.stream.stream import ShardStream, StreamConfig
from deepseek.data.table.table import Table
from deepseek.errors import InputError, MissingError

Image = pytest.importorskip("PIL.Image")
NUM, SHARD = 30, 8
LABELS = ("0", "1", "2")
PREPARER = SamplePreparer((MediaColumn("image", "image", ImageReader(size=(4, 4), channels=1)),))


def picture(value: int) -> bytes:
    sink = io.BytesIO()
    Image.new("L", (4, 4), value).save(sink, "PNG")
    return sink.getvalue()


def tar(path: Path, members: Sequence[tuple[str, bytes | tarfile.TarInfo]]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            if isinstance(data, tarfile.TarInfo):
                data.name = name
                archive.addfile(data)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def tars(root: Path, num: int = NUM, instead: Mapping[int, bytes] | None = None) -> list[Path]:
    """Picture k is all of brightness k, its class k % 3."""
    pictures = {k: picture(k) for k in range(num)} | dict(instead or {})
    parts = [range(first, min(first + SHARD, num)) for first in range(0, num, SHARD)]
    return [
        tar(root / f"{at}.tar", [m for k in part for m in ((f"{k}.png", pictures[k]), (f"{k}.cls", b"%d\n" % (k % 3)))])
        for at, part in enumerate(parts)
    ]


def opened(kind: str, root: Path) -> Shards:
    if kind == "folder":
        for k in range(NUM):
            (root / str(k % 3)).mkdir(exist_ok=True)
            (root / str(k % 3) / f"{k}.png").write_bytes(picture(k))
        return open_folder(root, column="image", target="label", suffixes=(".png",))
    if kind == "tar":
        return open_tars(tars(root), columns={"image": ("jpg", "png"), "label": "cls"})
    for at, first in enumerate((0, 17)):
        rows = range(first, (17, NUM)[at])
        (root / "files").mkdir(exist_ok=True)
        if kind == "paths":
            for k in rows:
                (root / "files" / f"{k}.png").write_bytes(picture(k))
        cells: list[Any] = [f"{k}.png" if kind == "paths" else picture(k) for k in rows]
        if kind == "structs":
            cells = [{"bytes": cell, "path": "elsewhere.png"} for cell in cells]
        table = pa.table({"label": [k % 3 for k in rows], "image": cells, "more": list(rows)})
        pq.write_table(table, root / f"{at}.parquet", row_group_size=SHARD)
    return open_parquet(sorted(root.glob("*.parquet")), columns=["image", "label"], root=root / "files")


def stream_of(shards: Shards, **knobs: Any) -> ShardStream:
    options = {"batch_size": 4, "buffer": 6, "seed": 3} | knobs
    return ShardStream(shards, PREPARER, target="label", labels=LABELS, config=StreamConfig(**options))


def seen(batches: Any) -> list[tuple[list[int], list[int]]]:
    """The brightness and the class of each row of each batch."""
    rows = []
    for batch in batches:
        assert (batch.labels == batch.arrays["image"][:, 0, 0, 0] % 3).all()
        rows.append((batch.arrays["image"][:, 0, 0, 0].tolist(), batch.labels.tolist()))
    return rows


def flat(batches: Any) -> list[int]:
    """The brightness of all rows."""
    return [value for values, _ in batches for value in values]


@pytest.mark.parametrize("kind", ["folder", "tar", "bytes", "structs", "paths"])
def test_a_pass_gives_each_row_once_and_goes_on_in_its_middle(kind: str, tmp_path: Path) -> None:
    stream = stream_of(opened(kind, tmp_path), cache=tmp_path / "cache" if kind in ("tar", "bytes") else None)
    first, second = seen(stream), seen(stream)
    for batches in (first, second):
        assert len(batches) == len(stream) == 8
        assert sorted(flat(batches)) == list(range(NUM))
    assert first != second
    assert seen(stream_of(stream.shards)) == first

    again = stream_of(stream.shards)
    passing = iter(again)
    seen([next(passing) for _ in range(3)])
    state = json.loads(json.dumps(again.state_dict()))
    other = stream_of(stream.shards)
    other.load_state_dict(state)
    assert seen(other) == first[3:]
    assert seen(other) == second
    assert other.state_dict()["epoch"] == 2
    with pytest.raises(InputError, match="of another stream"):
        stream_of(stream.shards, seed=4).load_state_dict(state)


def test_without_a_seed_rows_come_as_they_lie(tmp_path: Path) -> None:
    assert flat(seen(stream_of(opened("tar", tmp_path), seed=None))) == list(range(NUM))


@pytest.mark.parametrize("seed", [None, 5])
def test_ranks_share_the_rows_out(seed: int | None) -> None:
    for epoch in range(3):
        ranks = [ShardSampler((5, 9, 0, 7, 1), seed, 4, (rank, 3)) for rank in range(3)]
        orders = [list(order.rows(epoch)) for order in ranks]
        assert [len(rows) for rows in orders] == [7, 7, 7]
        assert len({row for rows in orders for row in rows}) == 21
        assert [sorted(order.read(epoch)) for order in ranks] == [sorted(rows) for rows in orders]


def test_the_buffer_bounds_what_is_held_and_mixes_what_lies_together() -> None:
    order = ShardSampler((10_000,), 0, 100)
    at = np.array(list(order.rows(0)))
    assert (at <= np.arange(10_000) + 99).all()  # nothing comes that would not have been read yet
    assert sorted(at.tolist()) == list(range(10_000))
    assert np.abs(at - np.arange(10_000)).mean() > 50


def test_a_parquet_file_is_not_read_again_before_the_place_where_a_pass_goes_on(tmp_path: Path) -> None:
    shards = opened("bytes", tmp_path)
    groups: list[int] = []

    class Watched:
        def __getattr__(self, name: str) -> Any:
            return getattr(shards, name)

        def read(self, rows: Iterator[int]) -> Iterator[Mapping[str, Any]]:
            return shards.read(groups.append(row) or row for row in rows)  # type: ignore[func-returns-value]

    whole = stream_of(shards)
    first = seen(whole)
    other = stream_of(Watched())  # type: ignore[arg-type]
    other.load_state_dict({**whole.state_dict(), "epoch": 0, "batch": 6})
    assert seen(other) == first[6:]
    assert sorted(groups) == sorted(flat(first[6:]))


# The cache ----------------------------------------------------------------------------------------------------------


def test_what_is_cached_is_not_decoded_again_and_a_torn_slot_is(tmp_path: Path) -> None:
    files = tars(tmp_path)
    shards = open_tars(files, columns={"image": "png", "label": "cls"})
    knobs = {"cache": tmp_path / "cache", "cache_bytes": 20 * 34}  # of 30 samples, at 8 + 16 + 1 + 8 bytes and a mark
    first = seen(stream_of(shards, **knobs))
    (slots,) = (tmp_path / "cache").glob("*.slots")
    assert slots.stat().st_size <= 20 * 33
    with slots.open("r+b") as file:
        file.seek(3 * 33 + 8)
        file.write(b"torn")
    assert seen(stream_of(shards, **knobs)) == first
    for path in files:
        state = path.stat()
        path.write_bytes(path.read_bytes().replace(b"IDAT", b"idat"))  # no picture can be read any more
        os.utime(path, ns=(state.st_mtime_ns, state.st_mtime_ns))
    passing = iter(stream_of(shards, **knobs, seed=None, batch_size=10))
    assert flat(seen([next(passing), next(passing)])) == list(range(20))
    with pytest.raises(BrokenError, match=r"2\.tar: 20\.png"):
        next(passing)


def test_the_cache_of_another_preparer_is_not_used(tmp_path: Path) -> None:
    shards = opened("tar", tmp_path)
    seen(stream_of(shards, cache=tmp_path / "cache"))
    other = SamplePreparer((MediaColumn("image", "image", ImageReader(size=(2, 2), channels=1)),))
    stream = ShardStream(shards, other, config=StreamConfig(cache=tmp_path / "cache"))
    (batch,) = stream
    assert batch.arrays["image"].shape == (NUM, 1, 2, 2)
    assert batch.labels is None
    assert len(list((tmp_path / "cache").glob("*.slots"))) == 1


# What is broken -----------------------------------------------------------------------------------------------------


def link(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo("link")
    info.type, info.linkname = tarfile.SYMTYPE, name
    return info


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ([("/etc/9.png", picture(9))], "/etc/9.png: its name leads out of the shard"),
        ([("../9.png", picture(9))], r"\.\./9.png: its name leads out of the shard"),
        ([("9.png", link("/etc/passwd"))], "9.png: it is a link to '/etc/passwd'"),
        ([("1.png", picture(9))], "1.png: it is a second member for one column of that sample"),
        ([("9.png", picture(9)), ("0.png", picture(9))], "0.png: it is of a second sample of that key"),
    ],
)
def test_members_that_no_shard_should_have_are_named_or_left_out(
    extra: list[tuple[str, Any]], said: str, tmp_path: Path
) -> None:
    path = tar(tmp_path / "a.tar", [("0.png", picture(0)), ("1.png", picture(1)), *extra])
    with pytest.raises(BrokenError, match=rf"a\.tar: {said}"):
        open_tars([path], columns={"image": "png"})
    shards = open_tars([path], columns={"image": "png"}, broken="mask")
    assert len(shards.faults) == 1
    values = [int(value) for batch in ShardStream(shards, PREPARER) for value in batch.arrays["image"][:, 0, 0, 0]]
    assert sorted(values) == ([0, 1, 9] if len(extra) > 1 else [0, 1])


@pytest.mark.parametrize("left", [5 * 512 + 60, 4 * 512, 4 * 512 + 100])
def test_a_shard_that_is_cut_off_is_named_or_read_up_to_there(left: int, tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", [(f"{k}.png", picture(k)) for k in range(4)])
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(BrokenError, match=r"a\.tar: .* cut off"):
        open_tars([path], columns={"image": "png"})
    shards = open_tars([path], columns={"image": "png"}, broken="mask")
    assert sum(shards.sizes) == 2
    assert "cut off" in shards.faults[0]


def test_what_the_shards_lack_is_said_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    with pytest.raises(InputError, match=r"0\.tar has no member for the column 'mask'"):
        open_tars(tars(tmp_path), columns={"image": "png", "mask": "npy"})
    (tmp_path / "1.tar").write_bytes(b"\x1f\x8b" + bytes(600))
    with pytest.raises(BrokenError, match=r"1\.tar is no tar file"):
        open_tars([tmp_path / "1.tar"], columns={"image": "png"})
    opened("bytes", tmp_path)
    files = sorted(tmp_path.glob("*.parquet"))
    with pytest.raises(InputError, match=r"0\.parquet has no column 'imag'\. Did you mean 'image'"):
        open_parquet(files, columns=["imag"])
    pq.write_table(pa.table({"image": ["a.png"], "label": [1]}), files[1])
    with pytest.raises(InputError, match=r"1\.parquet: column 'image' is string, and binary in 0\.parquet"):
        open_parquet(files, columns=["image", "label"])
    files[1].write_bytes(files[0].read_bytes()[:-20])
    with pytest.raises(BrokenError, match=r"1\.parquet cannot be read"):
        open_parquet(files, columns=["image", "label"])
    with pytest.raises(MissingError, match="there are no files in folders, one a class"):
        open_folder(tmp_path / "b", column="image", target="label", suffixes=(".png",))
    with pytest.raises(InputError, match="the shards have no column 'label'"):
        stream_of(open_parquet(files[:1], columns=["image"]))


def test_a_label_that_is_no_class_is_named(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", [("0.png", picture(0)), ("0.cls", b"7")])
    with pytest.raises(InputError, match=r"a\.tar: 0: the target 'label' is '7'\. Expected: one of 0, 1, 2"):
        seen(stream_of(open_tars([path], columns={"image": "png", "label": "cls"})))


def test_a_broken_picture_is_named_by_shard_and_member_or_left_out(tmp_path: Path) -> None:
    files = tars(tmp_path, 12)
    path = tar(tmp_path / "9.tar", [("20.png", picture(20)), ("20.cls", b"2"), ("21.png", b"no"), ("21.cls", b"0")])
    shards = open_tars([*files, path], columns={"image": "png", "label": "cls"})
    with pytest.raises(BrokenError, match=r"9\.tar: 21\.png \(row 13, column 'image'\) is no picture"):
        seen(stream_of(shards))
    stream = stream_of(shards, broken="mask")
    assert sorted(flat(seen(stream))) == [*range(12), 20]
    assert list(stream.faults) == [(13, "image")]
    assert "9.tar: 21.png" in stream.faults[13, "image"]


# Processes ----------------------------------------------------------------------------------------------------------

PROGRAM = """
import hashlib, json, os, sys
from pathlib import Path

if __name__ == "__main__":
    from deepseek.data.samples.preparer import MediaColumn, SamplePreparer
    from deepseek.data.media.image import ImageReader
    from deepseek.data.stream.shards_tar import open_tars
    from deepseek.data.stream.stream import ShardStream, StreamConfig

    folder = Path(sys.argv[1])
    shards = open_tars(sorted(folder.glob("*.tar")), columns={"image": "png", "label": "cls"})
    preparer = SamplePreparer((MediaColumn("image", "image", ImageReader(size=(4, 4), channels=1)),))
    config = StreamConfig(batch_size=4, buffer=6, seed=3, workers=1, broken="mask", cache=folder / "cache")
    stream = ShardStream(shards, preparer, target="label", labels=("0", "1", "2"), config=config)
    for batch in stream:
        print(hashlib.sha256(batch.arrays["image"].tobytes() + batch.labels.tobytes()).hexdigest(), flush=True)
        (folder / "state.json").write_text(json.dumps(stream.state_dict()))
        if stream.batch == 6:
            print(*stream.faults.values(), flush=True)
            os.kill(os.getpid(), 9)
"""
DEADLY = """
import os
from deepseek.data import image

def deadly(self, source, read=image.ImageReader.read):
    if b"deadly" in source.data:
        os.kill(os.getpid(), 9)  # as a decoder does that writes where it may not
    return read(self, source)

image.ImageReader.read = deadly
"""


def hashes(batches: Any) -> list[str]:
    return [hashlib.sha256(each.arrays["image"].tobytes() + each.labels.tobytes()).hexdigest() for each in batches]


@pytest.mark.slow
def test_a_decoder_that_dies_and_a_pass_that_is_killed_change_no_bit(tmp_path: Path) -> None:
    """A decoder dies on a picture in the program, which is killed behind its sixth batch; this process goes on."""
    row = list(ShardSampler((8, 8, 8, 6), 3, 6).rows(0))[5]
    tars(tmp_path, instead={row: b"deadly"})
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "sitecustomize.py").write_text(DEADLY)
    done = subprocess.run(
        [sys.executable, tmp_path / "program.py", tmp_path],
        capture_output=True, text=True, timeout=60, check=False,  # its own process must not outlive it
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "src")])},
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr[-2_000:]
    *first, said = done.stdout.splitlines()
    assert said == f"row {row}, column 'image': the decoder died on {row // SHARD}.tar: {row}.png"

    shards = open_tars(tars(tmp_path, instead={row: b"broken"}), columns={"image": "png", "label": "cls"})
    whole = hashes(stream_of(shards, broken="mask"))
    stream = stream_of(shards, broken="mask")
    stream.load_state_dict(json.loads((tmp_path / "state.json").read_text()))
    assert first == whole[:6]
    assert hashes(stream) == whole[6:]


def test_texts_numbers_and_files_come_as_the_preparer_makes_them(tmp_path: Path) -> None:
    table = Table(
        {"age": np.arange(NUM, dtype=float), "note": np.array([f"day {k}" for k in range(NUM)], object),
         "image": np.array(["0.png"] * NUM, object), "ill": np.arange(NUM) / 2},
        {"age": "number", "note": "text", "image": "text", "ill": "number"},
    )  # fmt: skip
    kinds = {"age": "numeric", "note": "text", "image": "image"}
    preparer = fit_samples(table, kinds, target="ill", readers={"image": PREPARER.media[0].reader})
    pictures = [None if k == 7 else picture(k) for k in range(NUM)]
    written = {name: column.tolist() for name, column in table.columns.items()} | {"image": pictures}
    pq.write_table(pa.table(written), tmp_path / "a.parquet", row_group_size=11)
    shards = open_parquet([tmp_path / "a.parquet"], columns=["image", "age", "note", "ill"])
    wanted = preparer.rows([{"image": pictures[k], "age": k, "note": f"day {k}"} for k in range(NUM)]).arrays
    num = 0
    for batch in ShardStream(shards, preparer, target="ill", config=StreamConfig(batch_size=7, buffer=9)):
        assert batch.labels is not None
        assert batch.labels.tolist() == (batch.rows / 2).tolist()
        for name, array in batch.arrays.items():
            np.testing.assert_array_equal(array, wanted[name][batch.rows])
        num += len(batch)
    assert num == NUM
