"""kill -9 in the middle of a write leaves nothing that opens but whole bundles."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from deepseek.bundle import Manifest, open_bundle, place, verify_bundle, write_bundle
from deepseek.errors import DeepseekError, MissingError

NUM_FILES = 20
NUM_KILLS = 16


def many(files: dict[str, bytes], letter: bytes) -> dict[str, bytes]:
    return {**files, **{f"weights/{i % 7}/{i}.json": letter * 400 for i in range(NUM_FILES)}}


def forked(work: Callable[[], object]) -> int:
    """Run `work` in another process, without waiting for it."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return pid


def kill_after(pid: int, delay_s: float) -> bool:
    """Whether it was killed before it ended by itself."""
    time.sleep(delay_s)
    os.kill(pid, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def write_time_s(out: Path, manifest: Manifest, files: dict[str, bytes]) -> float:
    start_s = time.monotonic()
    write_bundle(out, manifest, files)
    took_s = time.monotonic() - start_s
    shutil.rmtree(out)
    return took_s


def opened_names(folder: Path) -> dict[str, str]:
    """Whatever opens in a folder or one below, by its path there."""
    seen_name = {}
    for path in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        try:
            seen_name[str(path.relative_to(folder))] = open_bundle(path).manifest.name
        except DeepseekError:
            continue
    return seen_name


def test_a_killed_writer_leaves_no_bundle_or_a_whole_one(
    tmp_path: Path, manifest: Manifest, files: dict[str, bytes]
) -> None:
    out, content = tmp_path / "out", many(files, b"a")
    limit_s, chance, num_killed = write_time_s(out, manifest, content), random.Random(7), 0
    while num_killed < NUM_KILLS:
        pid = forked(lambda: write_bundle(out, manifest, content))
        if kill_after(pid, chance.uniform(0, limit_s)):
            num_killed += 1
        else:
            limit_s *= 0.9  # the machine was busier when the time was taken
        if out.exists():
            assert verify_bundle(out) == []
            assert opened_names(tmp_path) == {"out": "loans"}
            shutil.rmtree(out)
        else:
            assert opened_names(tmp_path) == {}
            with pytest.raises(MissingError):
                open_bundle(out)
    write_bundle(out, manifest, content)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.slow
@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_killed_overwriter_leaves_the_old_bundle_or_the_new_one(
    tmp_path: Path, manifest: Manifest, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, can_exchange: bool
) -> None:
    if not can_exchange:
        monkeypatch.setattr(place, "_swap_folders", lambda *_: False)
    out = tmp_path / "out"
    limit_s, chance = write_time_s(out, manifest, many(files, b"a")), random.Random(8)
    write_bundle(out, replace(manifest, name="n0"), many(files, b"a"))
    last = "n0"
    for number in range(1, NUM_KILLS):
        mine = replace(manifest, name=f"n{number}")
        content = many(files, b"%d" % number)
        pid = forked(lambda mine=mine, content=content: write_bundle(out, mine, content, overwrite=True))
        # Stay near the end of the write, where the old bundle goes and the new one comes.
        limit_s *= 1.1 if kill_after(pid, chance.uniform(0.7, 1.0) * limit_s) else 0.9
        if not can_exchange and not out.exists():  # between two renames: the next writer brings the old one back
            assert set(opened_names(tmp_path).values()) == {last}
            with place.exclusive_writer(out), place.temporary_folder(out):
                pass
        assert verify_bundle(out) == []
        seen_name = open_bundle(out).manifest.name
        assert seen_name in (last, f"n{number}")
        last = seen_name
    write_bundle(out, manifest, many(files, b"z"), overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
