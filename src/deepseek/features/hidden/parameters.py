"""What a definition says of hidden states: numbers that were learned from verdicts, kept as data beside the windows.

A card or a terminal is at any time sound or compromised. While a terminal is compromised most of its payments are
frauds, whatever their amount; while a card is, a share of its payments are frauds of amounts that are unusual for it.
"""

from __future__ import annotations

import dataclasses

from deepseek.errors import InputError

#: Bins of amounts: so many in each doubling, from one smallest unit on.
BINS_PER_DOUBLING = 8
NUM_BINS = 40 * BINS_PER_DOUBLING  # to the largest amount that there may be


@dataclasses.dataclass(frozen=True)
class RunLength:
    """How a state begins and ends, by days."""

    start: float  # chance that a sound key is compromised on the next day
    ends: tuple[float, ...]  # chance to be sound again after 1, 2, ... days; the last one is 1
    fraud_share: float  # of payments while it is compromised, that are frauds for this reason


@dataclasses.dataclass(frozen=True)
class HiddenStates:
    """Two keys of a definition whose states are followed, and what was learned of them."""

    card: str  # the name of the key whose amounts tell
    terminal: str  # the name of the key whose verdicts tell
    card_run: RunLength
    terminal_run: RunLength
    other_cause: float  # chance of a fraud for which the card's state is not the reason
    first_scale: int  # the bin of the least usual amount of a card
    scales: tuple[float, ...]  # chance of each usual amount, a bin apart
    first_offset: int  # the least offset, in bins, of an amount from its card's usual one
    ordinary: tuple[float, ...]  # chance of each offset, of genuine payments
    unusual: tuple[float, ...]  # the same of frauds by a compromised card
    first_amount: int  # the bin of the first of `amounts`
    amounts: tuple[float, ...]  # by bins: chance that the amount alone makes a payment a fraud

    def __post_init__(self) -> None:
        for name, values in (
            ("card_run.ends", self.card_run.ends), ("terminal_run.ends", self.terminal_run.ends),
            ("scales", self.scales), ("ordinary", self.ordinary), ("unusual", self.unusual),
        ):  # fmt: skip
            _check_chances(f"hidden.{name}", values)
        if len(self.ordinary) != len(self.unusual):
            raise InputError(
                "hidden.ordinary and hidden.unusual are not of one length", expected="one chance for each offset",
                fix="learn them anew",
            )  # fmt: skip
        if not 0 <= self.first_scale <= NUM_BINS - len(self.scales):
            raise InputError(f"hidden.first_scale is {self.first_scale}", expected="a bin of amounts", fix="learn anew")
        if any(not 0 <= chance < 1 for chance in self.amounts):
            raise InputError("a chance in hidden.amounts is none", expected="0 to below 1", fix="learn them anew")
        shares = (self.card_run, self.terminal_run)
        rates = (self.other_cause, *(run.start for run in shares), *(run.fraud_share for run in shares))
        if any(not 0 < rate < 1 for rate in rates):
            raise InputError("a rate in hidden is no chance", expected="above 0, below 1", fix="learn them anew")


def _check_chances(name: str, values: tuple[float, ...]) -> None:
    if not values or len(values) > NUM_BINS or any(not 0 <= value <= 1 for value in values) or max(values) == 0:
        raise InputError(
            f"{name} holds what is no chance", expected=f"1 to {NUM_BINS} numbers from 0 to 1", fix="learn it anew"
        )
