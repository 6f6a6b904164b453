"""Secure sums: exact in the field, blind to one party, and open also when parties drop out."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pytest

from deepseek.errors import CheckError
from deepseek.privacy.sums.field import Field, from_field, to_field
from deepseek.privacy.sums.protocol import MaskingParty, RevealedShares, open_sum

pytest.importorskip("Crypto.Protocol.SecretSharing", reason="needs the extra 'privacy'")

NAMES = [f"p{place}" for place in range(5)]
SIZE = 1000


def run_sum(
    numbers: dict[str, Field], *, after_keys: Collection[str] = (), after_shares: Collection[str] = (),
    after_masked: Collection[str] = (), threshold: int = 3,
) -> tuple[Field, dict[str, Field]]:  # fmt: skip
    """The sum as the coordinator opens it, and what it saw of each party; parties leave after a step."""
    parties = {name: MaskingParty(name, threshold, "1/0") for name in numbers}
    keys = {name: party.keys for name, party in parties.items()}
    sharers = [name for name in parties if name not in after_keys]
    sealed = {name: parties[name].seal_shares(keys) for name in sharers}
    masked = {
        name: parties[name].mask(numbers[name], {sender: sealed[sender][name] for sender in sharers})
        for name in sharers
        if name not in after_shares
    }
    revealed = {name: parties[name].reveal(sorted(masked)) for name in masked if name not in after_masked}
    return open_sum(masked, keys, sharers, revealed, threshold, "1/0"), masked


def random_numbers() -> dict[str, Field]:
    rng = np.random.default_rng(0)
    return {name: to_field(rng.uniform(-1, 1, SIZE), 1.0, len(NAMES)) for name in NAMES}


@pytest.mark.parametrize(
    ("after_keys", "after_shares", "after_masked"),
    [((), (), ()), ((), ("p1", "p4"), ()), (("p0",), ("p2",), ()), ((), (), ("p3", "p0"))],
)
def test_the_sum_is_exact_when_parties_drop_out(
    after_keys: tuple[str, ...], after_shares: tuple[str, ...], after_masked: tuple[str, ...]
) -> None:
    numbers = random_numbers()
    total, masked = run_sum(numbers, after_keys=after_keys, after_shares=after_shares, after_masked=after_masked)
    left = [name for name in NAMES if name not in (*after_keys, *after_shares)]
    assert sorted(masked) == left
    assert np.array_equal(total, sum((numbers[name] for name in left), np.zeros(SIZE, np.uint32)))


def test_what_the_coordinator_sees_of_a_party_looks_random() -> None:
    """Zeros under masks are spread over the field: 64 bins of numbers, chi-squared far below its 1e-9 quantile."""
    numbers = {name: np.zeros(64_000, np.uint32) for name in NAMES}
    _, masked = run_sum(numbers)
    for name in NAMES:
        counts = np.bincount(masked[name] >> 26, minlength=64)
        assert ((counts - 1000) ** 2 / 1000).sum() < 150
    assert not np.array_equal(masked["p0"], masked["p1"])


def test_too_few_parties_for_the_masks_are_refused() -> None:
    with pytest.raises(CheckError, match="2 parties sent masked numbers"):
        run_sum(random_numbers(), after_shares=("p0", "p1", "p2"))
    with pytest.raises(CheckError, match="2 shares of a mask came back"):
        run_sum(random_numbers(), after_masked=("p0", "p1", "p2"))


def test_a_party_never_gives_both_shares_of_another() -> None:
    """A coordinator that asks once with p4 among those that are there, and once without, could open p4's numbers."""
    parties = {name: MaskingParty(name, 3, "1/0") for name in NAMES}
    keys = {name: party.keys for name, party in parties.items()}
    sealed = {name: party.seal_shares(keys) for name, party in parties.items()}
    party = parties["p0"]
    party.mask(np.zeros(4, np.uint32), {sender: sealed[sender]["p0"] for sender in NAMES})
    revealed = party.reveal(NAMES)
    assert not revealed.seeds.keys() & revealed.mask_keys.keys()
    with pytest.raises(CheckError, match="second set of parties"):
        party.reveal(NAMES[:4])


def test_keys_and_shares_that_were_changed_are_refused() -> None:
    parties = {name: MaskingParty(name, 3, "1/0") for name in NAMES}
    keys = {name: party.keys for name, party in parties.items()}
    with pytest.raises(CheckError, match="somebody between"):
        parties["p0"].seal_shares({**keys, "p0": parties["p1"].keys})
    sealed = {name: party.seal_shares(keys) for name, party in parties.items()}
    mine = {sender: sealed[sender]["p0"] for sender in NAMES}
    mine["p3"] = mine["p3"][:-1] + bytes([mine["p3"][-1] ^ 1])
    parties["p0"].mask(np.zeros(4, np.uint32), mine)
    with pytest.raises(CheckError, match="encrypted share was cut or changed"):
        parties["p0"].reveal(NAMES)


def test_shares_of_another_mask_key_do_not_open_a_sum() -> None:
    numbers = random_numbers()
    parties = {name: MaskingParty(name, 3, "1/0") for name in NAMES}
    keys = {name: party.keys for name, party in parties.items()}
    sealed = {name: party.seal_shares(keys) for name, party in parties.items()}
    masked = {
        name: parties[name].mask(numbers[name], {sender: sealed[sender][name] for sender in NAMES})
        for name in NAMES[:4]
    }
    revealed = {name: parties[name].reveal(NAMES[:4]) for name in NAMES[:4]}
    wrong = {name: RevealedShares(each.seeds, {"p4": bytes(16)}) for name, each in revealed.items()}
    with pytest.raises(CheckError, match="mask key of p4"):
        open_sum(masked, keys, NAMES, wrong, 3, "1/0")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_no_part_of_a_sum(value: float) -> None:
    with pytest.raises(CheckError, match="not finite"):
        to_field(np.array([1.0, value]), 2.0, 3)


def test_numbers_at_the_bound_of_all_parties_do_not_wrap() -> None:
    for num in (2, 3, 10, 64):
        parts = [to_field(np.array([1.0, -1.0, 0.0]), 4.0, num) for _ in range(num)]
        total = np.zeros(3, np.uint32)
        for part in parts:
            total = total + part
        assert np.allclose(from_field(total, 4.0, num), [num, -num, 0], atol=num * 4 / 2**24)
