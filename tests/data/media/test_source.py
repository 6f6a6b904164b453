"""A cell of a table, or of a request, becomes bytes, or an error that names the row."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import numpy as np
import pytest

from deepseek.data.media.source import BrokenError, Limits, Source, open_source
from deepseek.errors import InputError, MalformedError, MissingError, TooLargeError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    (root / "deep").mkdir(parents=True)
    (root / "a.bin").write_bytes(b"hello")
    (root / "deep" / "b.bin").write_bytes(b"below")
    (tmp_path / "secret").write_bytes(b"outside")
    return root


def opened(value: object, root: Path | None = None, limits: Limits | None = None) -> Source:
    return open_source(value, root=root, row=7, column="ct", limits=limits)


def test_a_path_below_the_folder_is_read_and_the_source_says_where_it_stood(folder: Path) -> None:
    source = opened("a.bin", folder)
    assert source.data == b"hello"
    assert source.name == "a.bin (row 7, column 'ct')"
    assert source.files == (("a.bin", b"hello"),)
    assert opened(Path("deep/b.bin"), folder).data == b"below"
    assert opened("deep/../a.bin", folder).data == b"hello"
    assert opened(str(folder / "a.bin"), folder).data == b"hello"


@pytest.mark.parametrize("value", ["../secret", "deep/../../secret", "/etc/hostname", "/dev/zero", "~/../secret"])
def test_a_path_that_leaves_the_folder_is_refused(folder: Path, value: str) -> None:
    with pytest.raises(InputError, match="row 7, column 'ct'") as caught:
        opened(value, folder)
    assert caught.value.status in (404, 422)
    if not value.startswith("~"):
        assert "leaves the folder" in str(caught.value)


def test_a_link_is_followed_inside_of_the_folder_and_refused_out_of_it(folder: Path) -> None:
    (folder / "inside").symlink_to(folder / "a.bin")
    (folder / "outside").symlink_to(folder.parent / "secret")
    (folder / "up").symlink_to(folder.parent)
    (folder / "loop").symlink_to(folder / "loop")
    assert opened("inside", folder).data == b"hello"
    for value in ("outside", "up/secret"):
        with pytest.raises(InputError, match="leaves the folder"):
            opened(value, folder)
    with pytest.raises(InputError, match="row 7"):
        opened("loop", folder)


def test_the_folder_itself_may_be_a_link(folder: Path) -> None:
    (folder.parent / "link").symlink_to(folder)
    assert opened("a.bin", folder.parent / "link").data == b"hello"


@pytest.mark.parametrize("where", ["pipe", "deep"])
def test_a_pipe_is_refused_before_it_is_opened(folder: Path, where: str) -> None:
    os.mkfifo(folder / "deep" / "p" if where == "deep" else folder / "pipe")
    with pytest.raises(InputError, match="is a device or a pipe"):
        opened(where, folder)  # opening it would wait for a writer for ever


def test_a_link_in_a_folder_of_slices_does_not_lead_out(folder: Path) -> None:
    (folder / "deep" / "x").symlink_to(folder.parent / "secret")
    with pytest.raises(InputError, match="leaves the folder"):
        opened("deep", folder)


@pytest.mark.parametrize("value", ["https://a.org/x.png", "HTTP://a", "s3://b/c", "file:///etc/hostname", "ftp://a/b"])
def test_an_address_is_never_fetched(folder: Path, value: str) -> None:
    for root in (folder, None):
        with pytest.raises(InputError, match="is an address") as caught:
            opened(value, root)
        assert "row 7, column 'ct'" in str(caught.value)


def test_a_file_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(MissingError, match=r"row 7, column 'ct': there is no file 'c.bin'"):
        opened("c.bin", folder)
    with pytest.raises(MissingError):
        opened("a.bin/x", folder / "nowhere")


@pytest.mark.parametrize("value", ["a\0b", "x" * 300, "a.bin/below"])
def test_a_name_that_no_file_can_have_is_an_error_of_the_input(folder: Path, value: str) -> None:
    with pytest.raises(InputError, match="row 7"):
        opened(value, folder)


def test_without_a_folder_no_path_is_read(folder: Path) -> None:
    with pytest.raises(InputError, match="a server reads no files"):
        opened(str(folder / "a.bin"))


def test_bytes_and_base64_are_the_same_file() -> None:
    data = bytes(np.random.default_rng(0).integers(0, 256, 1000, np.uint8))
    coded = base64.b64encode(data).decode()
    for value in (data, bytearray(data), memoryview(data), {"b64": coded}, f"data:image/png;base64,{coded}"):
        assert opened(value).data == data
    assert opened({"b64": coded}).name == "the value in row 7, column 'ct'"


@pytest.mark.parametrize("coded", ["abc", "a*cd", "aGVs bG8=", "aGVsbG8", "é", 5, None, ["aGVsbG8="]])
def test_what_is_not_base64_is_named(coded: object) -> None:
    with pytest.raises(MalformedError, match="row 7, column 'ct'"):
        opened({"b64": coded})


@pytest.mark.parametrize("value", ["data:image/png,hello", "data:;charset=utf-8,x", "data:"])
def test_a_data_address_must_be_base64(value: str) -> None:
    with pytest.raises(MalformedError, match="not base64"):
        opened(value)


@pytest.mark.parametrize("value", [b"", bytearray(), {"b64": ""}, "data:;base64,"])
def test_nothing_is_a_broken_file(value: object) -> None:
    with pytest.raises(BrokenError, match="is empty"):
        opened(value)


def test_an_empty_file_and_an_empty_folder_are_broken(folder: Path) -> None:
    (folder / "zero.wav").touch()
    (folder / "none").mkdir()
    with pytest.raises(BrokenError, match=r"zero.wav \(row 7, column 'ct'\) is empty"):
        opened("zero.wav", folder)
    with pytest.raises(BrokenError, match="without files"):
        opened("none", folder)


@pytest.mark.parametrize("value", [5, 1.5, True, ["a.bin"], object()])
def test_what_is_no_file_at_all_is_said_to_be_none(folder: Path, value: object) -> None:
    with pytest.raises(InputError, match="is no file"):
        opened(value, folder)


def test_the_limit_of_bytes_holds_for_every_way_in(folder: Path) -> None:
    limits = Limits(max_bytes=5)
    assert opened("a.bin", folder, limits).data == b"hello"
    assert opened(b"12345", None, limits).data == b"12345"
    (folder / "six").write_bytes(b"123456")
    coded = base64.b64encode(b"123456").decode()
    for value in ("six", b"123456", {"b64": coded}, f"data:;base64,{coded}", {"b64": "A" * 4000}):
        with pytest.raises(TooLargeError, match="row 7"):
            opened(value, folder, limits)


def test_a_huge_file_is_refused_unread(folder: Path) -> None:
    with (folder / "huge").open("wb") as file:
        file.truncate(2**42)  # 4 TiB of nothing; reading it would end this process
    with pytest.raises(TooLargeError, match="huge"):
        opened("huge", folder)


def test_a_folder_is_its_files_by_name_and_is_no_single_file(folder: Path) -> None:
    (folder / "deep" / "a.bin").write_bytes(b"first")
    (folder / "deep" / "further").mkdir()
    source = opened("deep", folder)
    assert source.files == (("a.bin", b"first"), ("b.bin", b"below"))
    with pytest.raises(BrokenError, match="a folder of 2 files"):
        _ = source.data


def test_the_limits_of_a_folder_are_of_all_its_files(folder: Path) -> None:
    (folder / "deep" / "c.bin").write_bytes(b"third")
    assert len(opened("deep", folder, Limits(max_files=2, max_bytes=10)).files) == 2
    with pytest.raises(TooLargeError, match="2 files"):
        opened("deep", folder, Limits(max_files=1))
    with pytest.raises(TooLargeError, match="MiB"):
        opened("deep", folder, Limits(max_bytes=9))
