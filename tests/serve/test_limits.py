"""The bound on waiting rows, and API keys."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from deepseek.errors import BusyError, InputError
from deepseek.serve.limits import ApiKeys, Gate
from deepseek.serve.protocols.errors import UnauthorizedError


def test_rows_over_the_bound_are_refused_and_do_not_count() -> None:
    gate = Gate(limit_rows=10)
    gate.enter(8)
    with pytest.raises(BusyError):
        gate.enter(3)
    gate.enter(2)
    assert gate.num_rows == 10


def test_a_single_request_above_the_bound_is_taken_while_nothing_waits() -> None:
    gate = Gate(limit_rows=10)
    gate.enter(100)
    assert gate.num_rows == 100


def test_retry_after_is_the_time_that_the_waiting_rows_need() -> None:
    gate = Gate(limit_rows=1_000)
    gate.learn(100, duration_s=5.0)  # 50 ms a row
    gate.enter(200)
    assert gate.retry_after_s == 10


@pytest.fixture
def keys(tmp_path: Path) -> ApiKeys:
    file = tmp_path / "keys"
    hashes = [hashlib.sha256(key).hexdigest() for key in (b"alpha", b"beta")]
    file.write_text(f"# two keys\n{hashes[0]}  # alpha\n\n{hashes[1].upper()}\n")
    return ApiKeys.read(file)


@pytest.mark.parametrize("header", [b"Bearer alpha", b"bearer beta", b"Bearer  beta "])
def test_a_known_key_passes(keys: ApiKeys, header: bytes) -> None:
    keys.check(header)


@pytest.mark.parametrize("header", [None, b"", b"alpha", b"Basic alpha", b"Bearer gamma", b"Bearer "])
def test_anything_else_is_unauthorized(keys: ApiKeys, header: bytes | None) -> None:
    with pytest.raises(UnauthorizedError):
        keys.check(header)


@pytest.mark.parametrize("content", ["", "# no key\n", "secret-in-plain-text\n"])
def test_a_file_without_usable_hashes_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "keys"
    file.write_text(content)
    with pytest.raises(InputError) as caught:
        ApiKeys.read(file)
    assert "sha256sum" in caught.value.fix


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        ApiKeys.read(tmp_path / "absent")
