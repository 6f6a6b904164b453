"""The leaderboard of a search, as evidence/search.json holds it: every trial with its figures on held-out rows.

parse_leaderboard(search).entries[0].family      # of the trial that came first
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from deepseek.bundle.fields import parse_value
from deepseek.errors import InputError, IntegrityError

if TYPE_CHECKING:
    from deepseek.contracts import JsonObject

SEARCH_FILE = "evidence/search.json"


@dataclass(frozen=True, slots=True)
class TrialFigure:
    """The leading metric of a trial with its 95 % interval; None where the rows do not suffice for one."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class TrialDifference:
    """The leading metric of a trial minus that of the model that was packed, on the same rows."""

    value: float
    low: float | None
    high: float | None
    p_value: float | None
    higher_is_better: bool
    verdict: str  # "better", "worse", "noise", "identical" or "unknown"


@dataclass(frozen=True, slots=True)
class LeaderboardEntry:
    """One trial, or the blend of several, on the held-out rows."""

    rank: int  # from 1 on, by the leading metric
    trial: int | None  # its number in the search, from 0 on; None for the blend
    family: str
    params: dict[str, Any]  # of any JSON type, by name
    weight: float  # its share of the model, 0..1
    metrics: dict[str, float]  # by name; a metric that is undefined on the rows is left out
    fit_cpu_s: float | None  # of one fit
    size_bytes: int | None
    figure: TrialFigure | None  # None beyond the best ones
    difference: TrialDifference | None


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """Trials and their blend, the best first."""

    metric: str  # by which they are ranked; "loss" in bundles of older releases
    higher_is_better: bool
    num_rows: int | None  # held out
    entries: tuple[LeaderboardEntry, ...]

    def to_dict(self) -> JsonObject:
        """The value of "leaderboard" in evidence/search.json and in `inspect --trials --json`."""
        document: JsonObject = asdict(self)
        return document | {"entries": list(document["entries"])}


def parse_leaderboard(search: JsonObject) -> Leaderboard:
    """The leaderboard of a search; of one by an older release, which has none, the trials by their loss."""
    try:
        if "leaderboard" in search:
            board: Leaderboard = parse_value(Leaderboard, search["leaderboard"], "leaderboard")
            return board
        trials = sorted(search["trials"], key=lambda trial: float(trial["loss"]))
        entries = tuple(_entry_by_loss(rank, trial) for rank, trial in enumerate(trials, start=1))
    except (InputError, KeyError, TypeError, ValueError) as error:
        raise IntegrityError(
            f"{SEARCH_FILE} does not hold the trials of a search: {str(error)[:200]}",
            expected="trials as ship writes them",
            fix="make the bundle again",
        ) from error
    return Leaderboard("loss", False, None, entries)


def _entry_by_loss(rank: int, trial: JsonObject) -> LeaderboardEntry:
    return LeaderboardEntry(
        rank, int(trial["number"]), str(trial["family"]), dict(trial.get("params", {})), 0.0,
        {"loss": float(trial["loss"])}, trial.get("fit_cpu_s"), None, None, None,
    )  # fmt: skip
