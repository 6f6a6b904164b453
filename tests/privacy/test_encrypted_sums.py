"""Sums of several parties' numbers by somebody without their key: how near they are, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from deepseek.errors import CheckError, DeepseekError, InputError
from deepseek.privacy.encrypted.ckks import CipherContext
from deepseek.privacy.encrypted.sums import (
    SUM_PARAMETERS,
    EncryptedNumbers,
    SumPacking,
    add_encrypted,
    decrypt_sum,
    encrypt_numbers,
)

pytest.importorskip("tenseal")
PACKING = SumPacking(num_parties=10, bound=2.0)
ADDER = CipherContext.public(SUM_PARAMETERS, "")


@pytest.fixture(scope="module")
def key() -> CipherContext:
    return CipherContext.generate(SUM_PARAMETERS)


def test_a_sum_is_within_its_stated_error_also_at_the_bounds_and_of_an_odd_length(key: CipherContext) -> None:
    rng = np.random.default_rng(0)
    parties = rng.uniform(-2, 2, (10, 4099))
    parties[:, :100], parties[:, 100:200], parties[:, 200:300] = 2.0, -2.0, 0.0
    messages = [EncryptedNumbers.from_bytes(encrypt_numbers(key, each, PACKING).to_bytes()) for each in parties]
    assert len(messages[0].ciphertexts) == 2
    total = add_encrypted(ADDER, messages)
    error = np.abs(decrypt_sum(key, EncryptedNumbers.from_bytes(total.to_bytes()), PACKING) - parties.sum(axis=0))
    assert error.max() <= PACKING.largest_error
    assert PACKING.largest_error < 3e-4
    assert add_encrypted(ADDER, [total]).num_added == 10


def test_who_adds_cannot_read(key: CipherContext) -> None:
    message = encrypt_numbers(key, np.full(10, 1.0), PACKING)
    with pytest.raises(ValueError, match=r"secret|private|decrypt"):
        ADDER.decrypt(message.ciphertexts[0], 5)


def test_numbers_beyond_the_bound_are_clipped_and_infinite_ones_refused() -> None:
    slots = PACKING.pack(np.array([5.0, -5.0]))
    assert PACKING.unpack(slots, 2).tolist() == [2.0, -2.0]
    with pytest.raises(InputError, match="finite"):
        PACKING.pack(np.array([np.inf]))


@pytest.mark.parametrize(
    "change",
    [
        lambda each: replace(each, ciphertexts=(each.ciphertexts[0][: len(each.ciphertexts[0]) // 2],)),
        lambda each: replace(each, key_id="ab" * 32),
        lambda each: replace(each, num=each.num - 2),
    ],
    ids=["cut", "other key", "other length"],
)
def test_a_message_that_does_not_fit_is_refused(
    key: CipherContext, change: Callable[[EncryptedNumbers], EncryptedNumbers]
) -> None:
    message = encrypt_numbers(key, np.ones(10), PACKING)
    with pytest.raises(CheckError):
        add_encrypted(ADDER, [message, change(message)])


def test_a_sum_of_too_many_or_by_another_key_is_refused(key: CipherContext) -> None:
    message = encrypt_numbers(key, np.ones(10), PACKING)
    total = add_encrypted(ADDER, [message, message])
    with pytest.raises(CheckError, match="2 parties under the key"):
        decrypt_sum(CipherContext.generate(SUM_PARAMETERS), total, PACKING)
    with pytest.raises(CheckError, match="11 parties"):
        decrypt_sum(key, add_encrypted(ADDER, [message] * 11), PACKING)


@pytest.mark.parametrize("data", [b"", b"x" * 100])
def test_bytes_that_are_no_message_are_refused(data: bytes) -> None:
    with pytest.raises(DeepseekError):
        EncryptedNumbers.from_bytes(data)
