"""The four steps of a secure sum (Bonawitz et al. 2017, figure 4, for a coordinator that follows the protocol and is
curious), over a complete graph of parties.

    keys     each party -> two public keys: for sealing shares, for masks
    shares   each party -> shares of what its mask key follows from and of its own seed, sealed for each other party
    masked   each party -> its numbers + mask of its own seed + sum of +-masks agreed with each other party
    unmask   each party -> of parties that are still there the share of the seed, of the others that of the mask key
             the coordinator -> the sum over those that are still there, and nothing about one of them

A party never gives both shares of one other party in a round: both together would open its numbers.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from deepseek.errors import CheckError
from deepseek.privacy.sums.field import Field
from deepseek.privacy.sums.masks import (
    KeyPair,
    agree_key,
    derive_key,
    generate_key_pair,
    mask_of,
    pair_of_secret,
    seal,
    unseal,
)
from deepseek.privacy.sums.shares import SECRET_BYTES, join_shares, split_secret


@dataclass(frozen=True, slots=True)
class PublicKeys:
    """Of one party in one round."""

    sealing: bytes
    masking: bytes


@dataclass(frozen=True, slots=True)
class RevealedShares:
    """What one party gives back in the last step: its shares of seeds, and of mask keys of those that dropped out."""

    seeds: Mapping[str, bytes]
    mask_keys: Mapping[str, bytes]


@dataclass(slots=True)
class MaskingParty:
    """One party in one round. `round_id` says which: keys of another round fit nothing."""

    name: str
    threshold: int
    round_id: str
    _sealing: KeyPair = field(default_factory=generate_key_pair)
    _masking_secret: bytes = field(default_factory=lambda: secrets.token_bytes(SECRET_BYTES))
    _masking: KeyPair = field(init=False)
    _seed: bytes = field(default_factory=lambda: secrets.token_bytes(SECRET_BYTES))
    _peers: dict[str, PublicKeys] = field(default_factory=dict)  # all that sent keys, this one too
    _sealed: dict[str, bytes] = field(default_factory=dict)  # shares for this party, by sender
    _sealing_keys: dict[str, bytes] = field(default_factory=dict)  # that were agreed, by peer
    _survivors: frozenset[str] | None = None  # to whom this party has answered in the last step

    def __post_init__(self) -> None:
        self._masking = pair_of_secret(self._masking_secret)

    @property
    def keys(self) -> PublicKeys:
        """What this party sends in the step "keys"."""
        return PublicKeys(self._sealing.public, self._masking.public)

    def seal_shares(self, peers: Mapping[str, PublicKeys]) -> dict[str, bytes]:
        """What this party sends in the step "shares": for each of the parties that sent keys. CheckError where they are
        too few, or this party's own keys are not among them as it sent them."""
        self._check_number(len(peers), "sent keys")
        if peers.get(self.name) != self.keys:
            raise CheckError(
                f"the keys that go round for {self.name} are not those that it sent",
                expected="every party's own keys",
                fix="do not go on: somebody between the parties changes messages",
            )
        self._peers = dict(peers)
        names = sorted(peers)
        secret_shares = zip(
            split_secret(self._masking_secret, self.threshold, len(names)),
            split_secret(self._seed, self.threshold, len(names)), strict=True,
        )  # fmt: skip
        return {
            peer: seal(self._sealing_key(peer), mask_share + seed_share, self._context(self.name, peer))
            for peer, (mask_share, seed_share) in zip(names, secret_shares, strict=True)
        }

    def mask(self, numbers: Field, sealed: Mapping[str, bytes]) -> Field:
        """What this party sends in the step "masked": its numbers (B,) under masks with each party whose shares for it
        are in `sealed`, by sender."""
        self._check_number(len(sealed), "sent shares")
        self._sealed = dict(sealed)
        masked = numbers + mask_of(_own_mask_key(self._seed), len(numbers))
        for peer in sorted(sealed):
            if peer != self.name:
                mask = mask_of(self._mask_key(peer), len(numbers))
                masked = masked + mask if self.name < peer else masked - mask
        return masked

    def reveal(self, survivors: Sequence[str]) -> RevealedShares:
        """What this party sends in the step "unmask", when `survivors` have sent masked numbers. CheckError when they
        are too few, or others than this party was told before."""
        self._check_number(len(survivors), "sent masked numbers")
        if self._survivors not in (None, frozenset(survivors)):
            raise CheckError(
                "the coordinator asks for the shares of a second set of parties in one round",
                expected="one set of parties a round: two would open the numbers of one party",
                fix="do not go on with this coordinator",
            )
        self._survivors = frozenset(survivors)
        seeds, mask_keys = {}, {}
        for peer, sealed in self._sealed.items():
            both = unseal(self._sealing_key(peer), sealed, self._context(peer, self.name))
            if peer in self._survivors:
                seeds[peer] = both[SECRET_BYTES:]
            else:
                mask_keys[peer] = both[:SECRET_BYTES]
        return RevealedShares(seeds, mask_keys)

    def _check_number(self, num: int, did: str) -> None:
        if num < self.threshold:
            raise CheckError(
                f"{num} parties {did}",
                expected=f"at least {self.threshold}: of fewer, a sum would say too much",
                fix="repeat the round when more parties are there",
            )

    def _sealing_key(self, peer: str) -> bytes:
        if peer not in self._sealing_keys:
            purpose = f"share {self.round_id}"
            self._sealing_keys[peer] = agree_key(self._sealing.private, self._peers[peer].sealing, purpose)
        return self._sealing_keys[peer]

    def _mask_key(self, peer: str) -> bytes:
        return agree_key(self._masking.private, self._peers[peer].masking, f"mask {self.round_id}")

    def _context(self, sender: str, receiver: str) -> bytes:
        return f"{self.round_id} {sender} {receiver}".encode()


def open_sum(
    masked: Mapping[str, Field], keys: Mapping[str, PublicKeys], sharers: Sequence[str],
    revealed: Mapping[str, RevealedShares], threshold: int, round_id: str,
) -> Field:  # fmt: skip
    """The coordinator's part: the sum (B,) of the numbers of the parties in `masked`.

    `keys`: of all that sent keys; `sharers`: those of them that sent shares; `revealed`: the last step, by party.
    CheckError where too few shares came back, or a mask key does not fit its public half.
    """
    numbers = {name: place for place, name in enumerate(sorted(keys), 1)}
    total = np.zeros(len(next(iter(masked.values()))), np.uint32)
    for name, part in masked.items():
        seeds = {numbers[by]: shares.seeds[name] for by, shares in revealed.items() if name in shares.seeds}
        total = total + part - mask_of(_own_mask_key(join_shares(seeds, threshold)), len(part))
    for name in sorted(set(sharers) - set(masked)):
        parts = {numbers[by]: shares.mask_keys[name] for by, shares in revealed.items() if name in shares.mask_keys}
        pair = pair_of_secret(join_shares(parts, threshold))
        if pair.public != keys[name].masking:
            raise CheckError(
                f"the shares of the mask key of {name} do not fit together",
                expected="the shares that it gave the others",
                fix="repeat the round with the parties that are there",
            )
        for peer in masked:
            mask = mask_of(agree_key(pair.private, keys[peer].masking, f"mask {round_id}"), len(total))
            total = total - mask if peer < name else total + mask  # what the survivor put in for it goes out again
    return total


def _own_mask_key(seed: bytes) -> bytes:
    return derive_key(seed, "own mask")
