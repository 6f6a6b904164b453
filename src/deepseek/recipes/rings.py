"""Rings behind card payments: groups of cards that are used together, with the reasons for each.

    findings = find_rings(payments, RingChoices())

Steps: plant rings and decoys into the user's payments -> teach a scorer -> held-out worlds give the threshold for the
false-positive rate that was asked for, and the recall at each level of difficulty -> score the payments as they are
-> groups of suspected cards, with their meetings and reasons.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepseek.contracts import JsonObject
from deepseek.data import Table, read_table
from deepseek.errors import InputError
from deepseek.features.graph.example import simulate_payments
from deepseek.features.graph.payments import DAY_S, Payments
from deepseek.features.graph.planting import LEVELS, PlantingPlan, plant_levels
from deepseek.features.graph.rings import SuspectedRing, describe_ring, group_cards
from deepseek.look import numbers
from deepseek.recipes.rings_reasons import reasons
from deepseek.results import Result
from deepseek.train.rings.held_out import HeldOutFigures, measure_held_out, scale_plan
from deepseek.train.rings.scorer import ScorerConfig, fit_scorer, look_at

FEW_DAYS = 7
#: A column is recognized by the first of these words that names one column alone.
COLUMN_WORDS = {
    "card": ("card", "customer", "account", "client"),
    "terminal": ("terminal", "merchant", "shop", "store"),
    "amount": ("amount", "value", "price"),
}


@dataclass(frozen=True, slots=True)
class RingChoices:
    """What may be chosen."""

    max_fpr: float = 0.005  # share of the cards in no ring that may be suspected, 0 to 1
    least_strength: float = 0.3  # of an edge that joins two suspected cards into one ring
    num_held_worlds: int = 3  # for the threshold and the recall
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class RingFindings(Result):
    """The suspected rings of a table, and how far to trust that."""

    payments: Payments
    rings: tuple[SuspectedRing, ...]  # the highest score first
    num_alone: int  # suspected cards that no strong edge joins to another
    held_out: HeldOutFigures
    choices: RingChoices
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> JsonObject:
        """As `deepseek recipe rings --json` prints it."""
        held = self.held_out
        return {
            "num_payments": len(self.payments), "num_cards": self.payments.num_cards,
            "num_terminals": self.payments.num_terminals, "rings": [self._ring_to_dict(ring) for ring in self.rings],
            "num_suspected_alone": self.num_alone, "max_fpr": self.choices.max_fpr, "threshold": held.threshold,
            "recall": {
                name: {**each.recall.to_dict(), "num_cards": each.num_cards, "num_rings": each.num_rings}
                for name, each in held.recall.items()
            },
            "held_out": {
                "num_others": held.num_others, "num_alarms": held.num_alarms, "num_decoys": held.num_decoys,
                "num_decoy_alarms": held.num_decoy_alarms,
            },
            "seed": self.choices.seed, "warnings": list(self.warnings),
        }  # fmt: skip

    def _ring_to_dict(self, ring: SuspectedRing) -> JsonObject:
        names, places = self.payments.card_names, self.payments.terminal_names
        return {
            "score": float(np.mean(ring.scores)),
            "cards": [
                {"card": str(names[card]), "score": score} for card, score in zip(ring.cards, ring.scores, strict=True)
            ],
            "terminals": [str(places[terminal]) for terminal in ring.terminals],
            "meetings": [
                {
                    "time": str(np.datetime64(min(meeting.times_s), "s")),
                    "terminal": str(places[meeting.terminal]),
                    "cards": [str(names[card]) for card in meeting.cards],
                }
                for meeting in ring.meetings
            ],
            "reasons": [reason.en for reason in reasons(ring)],
        }

    def summary(self) -> str:
        """The answer in one sentence."""
        num_cards = sum(len(ring.cards) for ring in self.rings)
        by_level = self.held_out.recall.items()
        recalls = ", ".join(f"{numbers.number(each.recall.value)} {name}" for name, each in by_level)
        return (
            f"{len(self.rings)} suspected rings with {num_cards} of {numbers.count(self.payments.num_cards)} cards. "
            f"Share of the cards of planted rings that is found at a false-positive rate of "
            f"{numbers.number(100 * self.choices.max_fpr)} %, among decoys: {recalls}."
        )


def find_rings(payments: Payments, choices: RingChoices | None = None) -> RingFindings:
    """The suspected rings of `payments`. InputError where there are too few cards to learn from."""
    choices = choices or RingChoices()
    config = ScorerConfig(plan=scale_plan(payments), seed=10_000 + 1_000 * choices.seed)
    scorer = fit_scorer(payments, config)
    held_out = measure_held_out(payments, scorer, config, max_fpr=choices.max_fpr, num_worlds=choices.num_held_worlds)
    around = look_at(payments, scorer.limits)
    scores = scorer.score(around)
    suspected = scores.of_cards > held_out.threshold
    groups = group_cards(around.edges, scores.of_edges, suspected, choices.least_strength)
    rings = [describe_ring(payments, around.edges, cards, scores.of_cards, scorer.limits.window_s) for cards in groups]
    rings.sort(key=lambda ring: -float(np.mean(ring.scores)))
    num_alone = int(suspected.sum()) - sum(map(len, groups))
    return RingFindings(payments, tuple(rings), num_alone, held_out, choices, time_warnings(payments))


def time_warnings(payments: Payments) -> tuple[str, ...]:
    """What the times of the payments do not allow."""
    if (payments.time_s % DAY_S == 0).all():
        return ("the times are whole days: who pays on one day counts as having met, and crowds look like rings",)
    if payments.num_days < FEW_DAYS:
        return (f"the payments span {payments.num_days:.1f} days: rings that meet again later cannot be seen",)
    return ()


def example_payments(seed: int = 0) -> Payments:
    """A simulated town with eight rings, crowds and holidays in it."""
    plan = PlantingPlan(num_rings=8, num_crowds=3, num_holidays=3)
    return plant_levels(simulate_payments(seed=seed), list(LEVELS.values()), plan, seed=seed).payments


def read_payments(path: Path, *, time: str = "", card: str = "", terminal: str = "", amount: str = "") -> Payments:
    """The payments in a table. A column that is not named is recognized by its type or name, where there is one alone.
    InputError for a table without such columns, or with rows that lack a value in one of them."""
    table = read_table(path)
    chosen = {"time": time or _time_column(table)}
    for role, named in (("card", card), ("terminal", terminal), ("amount", amount)):
        chosen[role] = named or _column_by_name(table, role, set(chosen.values()))
    for role, name in chosen.items():
        missing = table.missing_mask(name)
        if missing.any():
            raise InputError(
                f"{int(missing.sum())} of {table.num_rows} payments have no {role} ({name!r}), the first of them in "
                f"row {int(np.argmax(missing)) + 1}",
                expected=f"a {role} in each row",
                fix="leave these rows out, or find out why it is missing",
            )
    for role in ("time", "amount"):
        if table.types[chosen[role]] not in (("datetime", "number") if role == "time" else ("number",)):
            raise InputError(
                f"the column {chosen[role]!r} holds {table.types[chosen[role]]}, no {role}",
                expected="dates, or seconds since 1970" if role == "time" else "numbers",
                fix=f"name the column with --{role}",
            )
    when = table.column(chosen["time"])
    time_s = when.astype("datetime64[s]").astype(np.int64) if when.dtype.kind == "M" else when
    return Payments.from_columns(
        time_s, _as_names(table, chosen["card"]), _as_names(table, chosen["terminal"]), table.column(chosen["amount"])
    )


def _time_column(table: Table) -> str:
    dates = [name for name in table.names if table.types[name] == "datetime"]
    if len(dates) == 1:
        return dates[0]
    raise InputError(
        f"{len(dates)} columns hold dates: {', '.join(dates)}" if dates else "no column holds dates",
        expected="the time of each payment",
        fix="name its column with --time",
    )


def _column_by_name(table: Table, role: str, taken: set[str]) -> str:
    for word in COLUMN_WORDS[role]:
        names = [name for name in table.names if word in name.lower() and name not in taken]
        if len(names) == 1:
            return names[0]
        if names:
            break
    raise InputError(
        f"no column is certainly the {role}; there are {', '.join(table.names)}",
        expected=f"a column with the {role} of each payment",
        fix=f"name it with --{role}",
    )


def _as_names(table: Table, name: str) -> np.ndarray:
    """Cards or terminals as text: 4711, not 4711.0."""
    values = table.column(name)
    if table.types[name] == "number" and (values == np.floor(values)).all():
        values = values.astype(np.int64)
    return values.astype(str)
