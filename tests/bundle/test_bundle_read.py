"""What is read is what was written, or nothing is read."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from deepseek.bundle import Bundle, open_bundle, verify_bundle
from deepseek.errors import InputError, IntegrityError, MissingError

MODEL = "model.json"


def both_refuse(path: Path, words: str) -> None:
    with pytest.raises(IntegrityError, match=words):
        open_bundle(path)
    assert any(words in problem for problem in verify_bundle(path))


def test_no_bundle_there_is_a_missing_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    for name in ("gone", "file", "file/inner"):
        for call in (open_bundle, verify_bundle):
            with pytest.raises(MissingError, match=r"there is no bundle"):
                call(tmp_path / name)
    with pytest.raises(MissingError, match=r"bundle.json is missing"):
        open_bundle(tmp_path / "empty")
    with pytest.raises(InputError, match=r"cannot be opened"):
        open_bundle("a\0b")


def test_a_file_changed_after_opening_is_refused_when_it_is_read(bundle: Bundle) -> None:
    path = bundle.path / MODEL
    data = path.read_bytes()
    path.write_bytes(data[:-2] + b" \n")
    with pytest.raises(IntegrityError, match=r"model\.json.*was changed"):
        bundle.read(MODEL)
    path.write_bytes(data + b" ")
    with pytest.raises(IntegrityError, match=r"model\.json.*was changed"):
        bundle.read(MODEL)
    path.write_bytes(data)
    assert bundle.read(MODEL) == data


def test_a_file_swapped_for_a_link_after_opening_is_refused_even_to_equal_bytes(bundle: Bundle) -> None:
    elsewhere = bundle.path.parent / "elsewhere"
    shutil.copytree(bundle.path, elsewhere)
    (bundle.path / MODEL).unlink()
    (bundle.path / MODEL).symlink_to(elsewhere / MODEL)
    with pytest.raises(IntegrityError, match=r"model.json cannot be read as a plain file"):
        bundle.read(MODEL)
    shutil.rmtree(bundle.path / "weights")
    (bundle.path / "weights").symlink_to(elsewhere / "weights")
    with pytest.raises(IntegrityError, match=r"weights/part-0.safetensors cannot be read as a plain file"):
        bundle.read("weights/part-0.safetensors")
    both_refuse(bundle.path, "'model.json' is a link")


def test_a_name_that_is_not_listed_is_not_read(bundle: Bundle) -> None:
    for name in ("bundle.json", "../loans/model.json", "/etc/passwd", "nothing"):
        assert not bundle.has(name)
        with pytest.raises(MissingError):
            bundle.read(name)


def test_the_folder_itself_may_be_reached_through_a_link(bundle: Bundle) -> None:
    link = bundle.path.with_name("current")
    link.symlink_to("loans")
    assert open_bundle(link).read(MODEL) == bundle.read(MODEL)


@pytest.mark.parametrize("name", [MODEL, "extra"])
@pytest.mark.parametrize("kind", ["fifo", "folder", "link", "dangling", "socket"])
def test_what_is_no_plain_file_is_refused_and_never_waited_for(bundle: Bundle, kind: str, name: str) -> None:
    path = bundle.path / name
    path.unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        here = os.open(bundle.path, os.O_RDONLY)  # a socket's path may have 107 bytes only
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"/proc/self/fd/{here}/{name}")
        os.close(here)
    else:
        path.symlink_to("/etc/hostname" if kind == "link" else "/nowhere")
    both_refuse(bundle.path, f"'{name}'")
    if name == MODEL:
        with pytest.raises(IntegrityError, match=MODEL):
            bundle.read(MODEL)


@pytest.mark.parametrize("name", ["bundle.json", "bundle.sig"])
def test_a_manifest_or_signature_that_is_a_link_is_refused(bundle: Bundle, name: str) -> None:
    elsewhere = bundle.path.parent / "elsewhere"
    elsewhere.write_bytes((bundle.path / "bundle.json").read_bytes())
    (bundle.path / name).unlink(missing_ok=True)
    (bundle.path / name).symlink_to(elsewhere)
    both_refuse(bundle.path, f"{name} cannot be read as a plain file")


def test_an_extra_empty_folder_is_refused(bundle: Bundle) -> None:
    (bundle.path / "weights/inner").mkdir()
    both_refuse(bundle.path, "the folder 'weights/inner' is not listed")


def test_a_name_that_is_no_text_is_refused_in_words_that_can_be_printed(bundle: Bundle) -> None:
    (bundle.path / os.fsdecode(b"\xff\xfe")).touch()
    both_refuse(bundle.path, "is not listed in bundle.json")
    verify_bundle(bundle.path)[0].encode()


def test_endless_folders_are_refused_in_bounded_time(bundle: Bundle) -> None:
    deep = bundle.path / "/".join(["a"] * 400)
    deep.mkdir(parents=True)
    both_refuse(bundle.path, "one of too many files or folders")


def test_verify_names_every_problem_and_open_says_how_many(bundle: Bundle) -> None:
    (bundle.path / MODEL).unlink()
    (bundle.path / "extra").touch()
    (bundle.path / "decision.json").write_bytes(b"{}")
    problems = verify_bundle(bundle.path)
    assert [next(name for name in (MODEL, "extra", "decision") if name in p) for p in problems] == [
        MODEL,
        "extra",
        "decision",
    ]
    with pytest.raises(IntegrityError, match=r"'model.json' is missing \(and 1 more: deepseek verify\)"):
        open_bundle(bundle.path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_file_that_may_not_be_read_is_named(bundle: Bundle) -> None:
    (bundle.path / MODEL).chmod(0)
    both_refuse(bundle.path, "model.json cannot be read")


def test_many_threads_read_one_bundle(bundle: Bundle, files: dict[str, bytes]) -> None:
    wrong: list[str] = []

    def read() -> None:
        for _ in range(50):
            wrong.extend(name for name in files if bundle.read(name) != files[name])

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_opening_leaves_no_file_open(bundle: Bundle) -> None:
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    for _ in range(5):
        open_bundle(bundle.path).read(MODEL)
        verify_bundle(bundle.path)
    (bundle.path / "extra").touch()
    with pytest.raises(IntegrityError):
        open_bundle(bundle.path)
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == before


@pytest.mark.slow
def test_the_room_imports_as_fast_as_a_part_of_the_standard_library_and_without_numpy() -> None:
    def least_s(modules: str) -> float:
        """CPU seconds, the least of many: a busy neighbour only adds."""
        script = (
            f"import time, sys; start = time.process_time(); import {modules}; took = time.process_time() - start;"
            "assert not {'numpy', 'cryptography', 'rich'} & set(sys.modules); print(took)"
        )
        runs = [subprocess.check_output([sys.executable, "-c", script], text=True) for _ in range(10)]
        return min(map(float, runs))

    # 50 ms on the processor where these modules take 57
    assert least_s("deepseek.bundle") < 1.5 * least_s("asyncio, http.client, dataclasses, inspect, json")
