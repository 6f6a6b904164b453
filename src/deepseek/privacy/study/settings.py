"""What a study may set, as CONFIG.toml says it; each field has its unit and range, and combinations that would promise
what cannot be kept are refused by name.

    settings = read_settings(Path("config.toml"), ())

[model]       kind = "perceptron", widths = [32]
[model]       kind = "trees", trees = { num_trees = 50, depth = 4 }
[model]       kind = "module"                       # a torch module, which every party has a file of
[rounds]      num_rounds = 20, strategy = "fedavg", min_parties = 3
[protection]  secure_sums = true
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from deepseek.config import build_dataclass, merge_settings, read_toml
from deepseek.errors import InputError

ModelKind = Literal["linear", "perceptron", "trees", "module"]
StrategyName = Literal["fedavg", "fedprox", "fedavgm", "fedavgm_nesterov", "fedadam", "scaffold"]
RuleName = Literal["mean", "trimmed_mean", "median", "krum"]
LEAST_NOISED_HESSIAN = 0.01  # of a child, as a share of all rows, in trees with noise
MAX_ROUNDS, MAX_PARTIES, MAX_WIDTH = 10_000, 1_000, 4_096


@dataclass(frozen=True, slots=True)
class TreeSettings:
    """Boosted trees, of which each level is a round. Sums and gains are means over all rows."""

    num_trees: int = 50
    depth: int = 4  # splits from the root to a leaf
    num_bins: int = 32  # of a number, cut at the quantiles of the sample
    l2: float = 1e-4  # of leaves, in row weights as a share of all
    min_hessian: float = 1e-4  # of a child, as a share of all rows
    min_gain: float = 1e-7


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """What is learned: a linear model, a perceptron with hidden layers, trees, or a torch module."""

    kind: ModelKind = "linear"
    widths: tuple[int, ...] = ()  # of the hidden layers of a perceptron
    weight_decay: float = 1e-4  # of the squared weights, per row
    trees: TreeSettings | None = None  # where the kind is "trees"


@dataclass(frozen=True, slots=True)
class RoundSettings:
    """How it is learned: rounds of local steps, and what the coordinator makes of the updates."""

    num_rounds: int = 20
    local_epochs: int = 1  # passes over its own rows that a party makes in a round
    batch_size: int = 64
    lr: float = 0.1  # of a party's steps
    strategy: StrategyName = "fedavg"
    proximity: float = 0.01  # fedprox: pull of the shared parameters, per parameter
    server_lr: float = 0.03  # fedadam: of the coordinator's step
    server_momentum: float = 0.7  # fedavgm, fedavgm_nesterov: share of the last step that goes on
    rule: RuleName = "mean"  # how updates become one
    num_malicious: int = 0  # parties that trimmed_mean and krum hold off
    norm_bound: float | None = None  # longest update; a longer one is scaled down to it
    min_parties: int = 2  # updates without which a round counts for nothing
    deadline_s: float = 600.0  # for each step of a round
    held_share: float = 0.2  # of each party's rows, on which the model is measured
    seed: int = 0


@dataclass(frozen=True, slots=True)
class ProtectionSettings:
    """What a coordinator may see."""

    secure_sums: bool = False  # sums of updates alone, never one of them
    update_bound: float = 4.0  # largest entry of an update that the masked sums can carry


@dataclass(frozen=True, slots=True)
class BudgetSettings:
    """Differential privacy, of whole parties (updates are clipped and noised) or of single records (each step of a
    party is: DP-SGD). Without a noise there is no promise."""

    unit: Literal["party", "record"] = "party"  # in what two studies may differ

    noise: float = 0.0  # standard deviation of the noise on the sum, in clipping norms (of trees: in row_norm())
    clip_norm: float = 1.0  # longest update of a party, or gradient of a record
    epsilon: float | None = None  # the study ends before more is spent
    delta: float = 1e-5


@dataclass(frozen=True, slots=True)
class StudySettings:
    """CONFIG.toml."""

    model: ModelSettings = field(default_factory=ModelSettings)
    rounds: RoundSettings = field(default_factory=RoundSettings)
    protection: ProtectionSettings = field(default_factory=ProtectionSettings)
    budget: BudgetSettings = field(default_factory=BudgetSettings)

    @property
    def num_training_tasks(self) -> int:
        """Rounds of a study without a budget: of trees, one for each level of each."""
        trees = self.model.trees
        return self.rounds.num_rounds if trees is None else trees.num_trees * trees.depth

    def check(self) -> None:
        """InputError for a value out of its range, and for settings that contradict each other."""
        for name, good, expected in (*self._model_ranges(), *self._round_ranges(), *self._protection_ranges()):
            if not good:
                raise InputError(f"{name} does not fit", expected=expected, fix=f"give {name} such a value")
        _check_combination(self)

    def _model_ranges(self) -> Iterable[tuple[str, bool, str]]:
        model = self.model
        yield (
            "model.widths",
            all(1 <= width <= MAX_WIDTH for width in model.widths),
            f"widths between 1 and {MAX_WIDTH}",
        )
        yield (
            "model.widths",
            bool(model.widths) == (model.kind == "perceptron"),
            "hidden widths of a perceptron, none of a linear model",
        )
        yield (
            "model.trees",
            (model.trees is not None) == (model.kind == "trees"),
            'a table, and kind = "trees"; none of another kind',
        )
        trees = model.trees or TreeSettings()
        yield "model.trees.num_trees", 1 <= trees.num_trees <= 1_000, "between 1 and 1000"
        yield "model.trees.depth", 1 <= trees.depth <= 8, "between 1 and 8"
        yield "model.trees.num_bins", 2 <= trees.num_bins <= 256, "between 2 and 256"
        yield "model.trees.l2", 0 < trees.l2 < 1, "a share between 0 and 1"
        yield "model.trees.min_hessian", 0 < trees.min_hessian < 1, "a share between 0 and 1"
        yield "model.trees.min_gain", 0 <= trees.min_gain < 1, "a share from 0"
        yield "model.weight_decay", 0 <= model.weight_decay < 1, "a number from 0 to below 1"

    def _round_ranges(self) -> Iterable[tuple[str, bool, str]]:
        rounds = self.rounds
        yield "rounds.num_rounds", 1 <= rounds.num_rounds <= MAX_ROUNDS, f"between 1 and {MAX_ROUNDS}"
        yield "rounds.local_epochs", 1 <= rounds.local_epochs <= 100, "between 1 and 100"
        yield "rounds.batch_size", 1 <= rounds.batch_size <= 1 << 20, "at least 1"
        yield "rounds.lr", 0 < rounds.lr <= 100, "a number above 0"
        yield "rounds.server_lr", 0 < rounds.server_lr <= 100, "a number above 0"
        yield "rounds.server_momentum", 0 <= rounds.server_momentum < 1, "a share from 0 to below 1"
        yield "rounds.proximity", 0 <= rounds.proximity <= 100, "a number from 0"
        yield "rounds.min_parties", 2 <= rounds.min_parties <= MAX_PARTIES, f"between 2 and {MAX_PARTIES}"
        yield "rounds.deadline_s", 0.1 <= rounds.deadline_s <= 1e7, "seconds from 0.1"
        yield "rounds.held_share", 0 < rounds.held_share < 1, "a share between 0 and 1"
        yield "rounds.num_malicious", 0 <= rounds.num_malicious <= MAX_PARTIES, "a number of parties"
        yield "rounds.norm_bound", rounds.norm_bound is None or rounds.norm_bound > 0, "a length above 0"
        yield "rounds.seed", 0 <= rounds.seed < 2**31, "a whole number from 0"

    def _protection_ranges(self) -> Iterable[tuple[str, bool, str]]:
        protection, budget = self.protection, self.budget
        yield "protection.update_bound", 0 < protection.update_bound <= 1e6, "a number above 0"
        yield "budget.noise", 0 <= budget.noise <= 1e3, "a number from 0"
        yield "budget.clip_norm", 0 < budget.clip_norm <= 1e6, "a length above 0"
        yield "budget.epsilon", budget.epsilon is None or budget.epsilon > 0, "a number above 0"
        yield "budget.delta", 0 < budget.delta < 1, "a share between 0 and 1"


def _check_trees(settings: StudySettings) -> None:
    """InputError for trees with what is made for updates of parameters."""
    rounds, budget, trees = settings.rounds, settings.budget, settings.model.trees or TreeSettings()
    for name, good, expected in (
        ("rounds.strategy", rounds.strategy == "fedavg", "fedavg"),
        ("rounds.rule", rounds.rule == "mean" and rounds.norm_bound is None, "mean, without norm_bound"),
        ("budget.unit", not budget.noise or budget.unit == "record", "record, where there is a noise"),
        (
            "model.trees.min_hessian",
            not budget.noise or trees.min_hessian >= LEAST_NOISED_HESSIAN,
            f"at least {LEAST_NOISED_HESSIAN} under a budget: smaller leaves are of the noise",
        ),
        ("rounds.lr", rounds.lr <= 1, "a shrinkage up to 1"),
    ):
        if not good:
            raise InputError(
                f"{name} does not go with trees", expected=expected, fix=f"change {name}, or learn a perceptron"
            )


def _check_combination(settings: StudySettings) -> None:
    rounds, protection, budget = settings.rounds, settings.protection, settings.budget
    if settings.model.kind == "trees":
        _check_trees(settings)
    if protection.secure_sums and (rounds.rule != "mean" or rounds.norm_bound is not None):
        raise InputError(
            f"protection.secure_sums does not go with rounds.rule = {rounds.rule!r} or a norm_bound",
            expected="rule = 'mean' without norm_bound: a robust rule has to look at each update",
            fix="choose whom the study holds off: a curious coordinator (secure_sums) or malicious parties (a rule)",
        )
    most = (rounds.min_parties - 1) // 2 if rounds.rule == "trimmed_mean" else max(0, (rounds.min_parties - 3) // 2)
    if rounds.rule in ("trimmed_mean", "krum") and not 1 <= rounds.num_malicious <= most:
        raise InputError(
            f"rounds.num_malicious is {rounds.num_malicious} with rounds.min_parties = {rounds.min_parties}",
            expected=f"from 1 to {most} for {rounds.rule}: the honest ones must outnumber the others",
            fix="raise min_parties, or expect fewer malicious parties",
        )
    if budget.epsilon is not None and budget.noise == 0:
        raise InputError(
            "budget.epsilon is set and budget.noise is 0",
            expected="a noise: without one the privacy loss has no bound",
            fix="set budget.noise, such as 1.0",
        )
    if budget.unit == "record":
        if budget.noise and rounds.strategy == "scaffold":
            raise InputError(
                "budget.unit = 'record' does not go with strategy = 'scaffold'",
                expected="a strategy whose steps are of the record's own gradients", fix="choose fedavg or fedavgm",
            )  # fmt: skip
        if budget.noise and budget.epsilon is None:
            raise InputError(
                "budget.unit is 'record' without budget.epsilon",
                expected="an epsilon: each party checks by its own number of rows that it is kept",
                fix="set budget.epsilon",
            )
        return
    if budget.noise and not protection.secure_sums:
        raise InputError(
            "budget.noise is set without protection.secure_sums",
            expected="secure sums: each party adds its part of the noise, which hides it in the sum alone",
            fix="set protection.secure_sums = true, or budget.unit = 'record'",
        )
    if budget.noise and (rounds.rule != "mean" or rounds.strategy == "scaffold"):
        raise InputError(
            f"budget.noise does not go with rule = {rounds.rule!r} and strategy = {rounds.strategy!r}",
            expected="rule = 'mean' and a strategy that sends one update: the accountant knows no other",
            fix="choose fedavg, fedprox, fedavgm or fedadam with rule = 'mean'",
        )


def read_settings(path: Path | None, assignments: Iterable[str] = ()) -> StudySettings:
    """The settings of a TOML file (None: the defaults) with KEY=VALUE over them. InputError names what does not fit."""
    table = merge_settings({} if path is None else read_toml(path), assignments)
    settings = build_dataclass(StudySettings, table)
    settings.check()
    return settings
