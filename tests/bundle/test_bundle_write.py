"""A bundle is there as a whole or not at all, whatever the disk and other writers do."""

from __future__ import annotations

import dataclasses
import fcntl
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from deepseek.bundle import Bundle, Manifest, check_target, open_bundle, place, verify_bundle, write_bundle
from deepseek.errors import BusyError, InputError, MissingError


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def named(manifest: Manifest, name: str) -> Manifest:
    return dataclasses.replace(manifest, name=name)


def test_what_was_written_is_read(bundle: Bundle, files: dict[str, bytes]) -> None:
    again = open_bundle(bundle.path)
    assert {name: again.read(name) for name in again.manifest.files} == files
    assert again == bundle
    assert verify_bundle(bundle.path) == []
    assert bundle.size_bytes == sum(path.stat().st_size for path in bundle.path.rglob("*") if path.is_file())
    assert names_in(bundle.path.parent) == {"loans"}


def test_equal_content_gives_equal_bytes(tmp_path: Path, manifest: Manifest, files: dict[str, bytes]) -> None:
    one = write_bundle(tmp_path / "a", manifest, files).path
    two = write_bundle(tmp_path / "b", manifest, dict(reversed(files.items()))).path
    assert (one / "bundle.json").read_bytes() == (two / "bundle.json").read_bytes()


def test_folders_above_are_made_and_an_empty_target_is_used(
    tmp_path: Path, manifest: Manifest, files: dict[str, bytes]
) -> None:
    assert verify_bundle(write_bundle(tmp_path / "a/b/c", manifest, files).path) == []
    (tmp_path / "empty").mkdir()
    assert verify_bundle(write_bundle(tmp_path / "empty", manifest, files).path) == []


def test_a_target_that_is_not_empty_is_kept(bundle: Bundle, manifest: Manifest, files: dict[str, bytes]) -> None:
    with pytest.raises(InputError, match=r"is not empty.*--overwrite"):
        write_bundle(bundle.path, named(manifest, "other"), files)
    assert open_bundle(bundle.path).manifest.name == "loans"


def test_overwrite_replaces_a_bundle_and_nothing_else(
    bundle: Bundle, manifest: Manifest, files: dict[str, bytes]
) -> None:
    other = write_bundle(bundle.path, named(manifest, "other"), {**files, "more/x.json": b"{}"}, overwrite=True)
    assert open_bundle(bundle.path).manifest.name == other.manifest.name == "other"
    assert verify_bundle(bundle.path) == []
    home = bundle.path.parent / "home"
    home.mkdir()
    (home / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match=r"is not a bundle, so it is not replaced"):
        write_bundle(home, manifest, files, overwrite=True)
    (home / "file").write_text("x")
    with pytest.raises(InputError, match=r"is a file"):
        write_bundle(home / "file", manifest, files, overwrite=True)
    assert names_in(bundle.path.parent) == {"loans", "home"}
    assert names_in(home) == {"thesis.txt", "file"}


def test_a_check_of_the_target_tries_to_write_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    check_target(tmp_path / "new" / "loans")
    assert names_in(tmp_path) == {"file"}
    for wrong in (tmp_path / "file" / "loans", Path("/proc/loans"), tmp_path / ("x" * 250)):
        with pytest.raises(InputError, match=r"cannot be written"):
            check_target(wrong)


def test_the_folder_one_stands_in_is_refused(
    tmp_path: Path, manifest: Manifest, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a/b")
    for target in (".", "..", tmp_path / "a/b", "/"):
        with pytest.raises(InputError, match=r"the folder you are in"):
            write_bundle(target, manifest, files, overwrite=True)


def test_a_link_stays_and_the_folder_that_it_names_is_replaced(
    bundle: Bundle, manifest: Manifest, files: dict[str, bytes]
) -> None:
    link = bundle.path.parent / "current"
    link.symlink_to("loans")
    write_bundle(link, named(manifest, "other"), files, overwrite=True)
    assert link.is_symlink()
    assert open_bundle(bundle.path).manifest.name == open_bundle(link).manifest.name == "other"


@pytest.mark.parametrize(
    "wrong", [{"../x": b""}, {"a": b"", "A": b""}, {"bundle.json": b""}, {"m.pkl": b""}, {"a": "text"}, {"a": None}]
)
def test_a_file_that_a_bundle_cannot_hold_is_refused_before_anything_is_written(
    tmp_path: Path, manifest: Manifest, files: dict[str, bytes], wrong: dict[str, bytes]
) -> None:
    with pytest.raises(InputError):
        write_bundle(tmp_path / "out", manifest, {**files, **wrong})
    assert not names_in(tmp_path)


def test_a_target_and_a_key_can_be_asked_about_beforehand(
    bundle: Bundle, manifest: Manifest, files: dict[str, bytes], tmp_path: Path
) -> None:
    check_target(tmp_path / "new")
    check_target(bundle.path, overwrite=True)
    assert names_in(tmp_path) == {"loans"}
    for call in (check_target, lambda out, **how: write_bundle(out, manifest, files, **how)):
        with pytest.raises(InputError, match="is not empty"):
            call(bundle.path)
        with pytest.raises(InputError, match="private key"):
            call(tmp_path / "new", key=tmp_path / "gone")
    assert names_in(tmp_path) == {"loans"}


@pytest.mark.parametrize("target", ["a\0b", "x" * 300, "file/inner"])
def test_a_target_that_no_disk_takes_is_an_input_error(
    tmp_path: Path, manifest: Manifest, files: dict[str, bytes], target: str
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError):
        write_bundle(tmp_path / target, manifest, files)
    assert names_in(tmp_path) == {"file"}


def test_without_an_exchange_of_folders_a_bundle_is_still_replaced(
    bundle: Bundle, manifest: Manifest, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "_swap_folders", lambda *_: False)  # as on a file system that has none
    write_bundle(bundle.path, named(manifest, "other"), files, overwrite=True)
    assert open_bundle(bundle.path).manifest.name == "other"
    assert names_in(bundle.path.parent) == {"loans"}


def test_the_old_bundle_comes_back_after_a_crash_between_two_renames(
    bundle: Bundle, manifest: Manifest, files: dict[str, bytes]
) -> None:
    old = bundle.path.with_name(".loans.old")
    bundle.path.rename(old)
    with pytest.raises(InputError, match=r"is not empty"):
        write_bundle(bundle.path, named(manifest, "other"), files)
    assert open_bundle(bundle.path).manifest.name == "loans"
    assert names_in(bundle.path.parent) == {"loans"}


def test_what_a_stopped_writer_left_is_no_bundle_and_the_next_writer_cleans_it(
    bundle: Bundle, manifest: Manifest, files: dict[str, bytes]
) -> None:
    left = bundle.path.with_name(".loans.writing")
    shutil.copytree(bundle.path, left)
    bundle.path.with_name(".loans.lock").touch()
    with pytest.raises(InputError, match=r"left by a writer that was stopped"):
        open_bundle(left)
    write_bundle(bundle.path, manifest, files, overwrite=True)
    assert names_in(bundle.path.parent) == {"loans"}


def test_a_live_writer_is_waited_for_and_not_cleaned_away(
    tmp_path: Path, manifest: Manifest, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "loans"
    with place.exclusive_writer(target), place.temporary_folder(target) as temporary:
        (temporary / "half").touch()
        with pytest.raises(BusyError, match=r"another process"), place.exclusive_writer(target, wait_s=0.1):
            pass
        assert (temporary / "half").exists()
        second = threading.Thread(target=write_bundle, args=(target, manifest, files))
        second.start()
        second.join(0.2)
        assert second.is_alive()
        assert (temporary / "half").exists()
    second.join(60)
    assert verify_bundle(target) == []
    assert names_in(tmp_path) == {"loans"}


def test_a_lock_that_its_holder_deletes_just_before_it_is_ours_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, lock, calls = fcntl.flock, tmp_path / ".loans.lock", []

    def flock(fd: int, how: int) -> None:
        calls.append(fd)
        if len(calls) == 1:
            lock.unlink()
        real(fd, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with place.exclusive_writer(tmp_path / "loans"):
        assert len(calls) == 2
        with pytest.raises(BusyError), place.exclusive_writer(tmp_path / "loans", wait_s=0.05):
            pass
    assert not names_in(tmp_path)


def test_of_many_writers_one_wins_and_nothing_is_mixed(
    tmp_path: Path, manifest: Manifest, files: dict[str, bytes]
) -> None:
    outcomes: list[str] = []

    def write(name: str) -> None:
        try:
            write_bundle(tmp_path / "out", named(manifest, name), {**files, f"{name}.json": name.encode()})
            outcomes.append(name)
        except InputError:
            pass

    threads = [threading.Thread(target=write, args=(f"writer{i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = outcomes
    reopened = open_bundle(tmp_path / "out")
    assert reopened.manifest.name == winner
    assert reopened.read(f"{winner}.json") == winner.encode()
    assert verify_bundle(reopened.path) == []
    assert names_in(tmp_path) == {"out"}


def test_a_reader_sees_the_old_or_the_new_bundle_while_it_is_replaced(
    bundle: Bundle, manifest: Manifest, files: dict[str, bytes]
) -> None:
    stop = threading.Event()
    names = set()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            write_bundle(bundle.path, named(manifest, f"n{number}"), files, overwrite=True)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        end_s = time.monotonic() + 20
        while len(names) < 6 and time.monotonic() < end_s:
            names.add(open_bundle(bundle.path).manifest.name)
    finally:
        stop.set()
        writer.join()
    assert len(names) == 6


WRITER = """
import sys
from pathlib import Path
from deepseek.bundle import Lineage, Manifest, write_bundle
from deepseek.errors import InputError
manifest = Manifest("loans", "1", "2026-01-31T12:00:00+00:00", "regression", "y", (), ())
if "limited" in sys.argv:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_bundle(Path(sys.argv[1]), manifest, {"a.json": b"{}", "large.onnx": bytes(400_000)}, overwrite=True)
except InputError as error:
    print(error)
    sys.exit(error.exit_code)
"""


@pytest.mark.parametrize("before", [False, True])
def test_a_limit_on_file_sizes_leaves_the_target_as_it_was(
    tmp_path: Path, manifest: Manifest, files: dict[str, bytes], before: bool
) -> None:
    target = tmp_path / "loans"
    if before:
        write_bundle(target, manifest, files)
    done = subprocess.run(
        [sys.executable, "-c", WRITER, str(target), "limited"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "room for 0.4 MB" in done.stdout
    assert "free some space" in done.stdout
    assert names_in(tmp_path) == ({"loans"} if before else set())
    assert not before or verify_bundle(target) == []


def test_a_full_disk_leaves_no_half_bundle(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "none", str(disk)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("a small disk can only be made by root; the limit on file sizes is tested above")
    try:
        done = subprocess.run(
            [sys.executable, "-c", WRITER, str(disk / "loans")], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2, done.stderr
        assert "No space left on device" in done.stdout
        assert not names_in(disk)
        with pytest.raises(MissingError):
            open_bundle(disk / "loans")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_an_input_error(
    tmp_path: Path, manifest: Manifest, files: dict[str, bytes]
) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match=r"Permission denied"):
        write_bundle(tmp_path / "out", manifest, files)
