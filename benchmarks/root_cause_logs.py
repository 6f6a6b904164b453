"""Simulated logs of a server of a model, with a fault of a stated kind in the last ten minutes, or with none.

    simulate(seed)                        # clean: a pyarrow table, as the prediction log has it
    simulate(seed, fault="slow_host")     # and what a right answer names

What is simulated has what makes real logs hard: tenants of very different size, one of them bad at all times, latency
with a heavy tail that grows with the text's length, load that rises and falls, short bursts of failures that end by
themselves, a harmless roll-out and a harmless campaign in the very window.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

START_S = 1_767_225_600.0  # 2026-01-01
PAST_S, WINDOW_S = 3 * 3_600, 600
ROWS_PER_S = 6.0
COUNTRIES = ("FR", "DE", "GB", "US", "IT", "ES", "NL", "PL", "SE", "BR", "JP", "MX")
MOJIBAKE = {"FR": "FÃR", "DE": "DÃE", "ES": "EÃS", "BR": "BÃR"}
Array = np.ndarray


@dataclass
class Rows:
    """Columns of N rows while they are made; `in_window` says which ones the fault may touch."""

    columns: dict[str, Array]
    in_window: Array
    rng: np.random.Generator
    wrong: Array
    fail: Array
    slow: Array  # factor of the duration
    clock: Array  # seconds since the beginning
    shift_s: dict[str, float] = field(default_factory=dict)  # host -> what its clock is ahead

    def __getitem__(self, name: str) -> Array:
        return self.columns[name]

    def chance(self, rows: Array, share: float) -> Array:
        """A random share of these rows."""
        return rows & (self.rng.random(len(rows)) < share)

    def common(self, name: str, low: float = 0.04, high: float = 0.3) -> str:
        """A value of a column that between these shares of the window's rows have."""
        values, counts = np.unique(self[name][self.in_window].astype(str), return_counts=True)
        shares = counts / counts.sum()
        usable = values[(shares >= low) & (shares <= high)]
        return str(self.rng.choice(usable if len(usable) else values))


@dataclass(frozen=True)
class Truth:
    """What a right answer names: all these fields, and of each the value, where it has one."""

    fields: dict[str, str | None]
    also: tuple[str, ...] = ()  # names of one of them that are as good


Fault = Callable[[Rows], Truth]


def simulate(seed: int, fault: str | None = None, *, num_rows: int | None = None) -> tuple[pa.Table, Truth | None]:
    """A log and the truth about it. Reproducible by its seed."""
    rng = np.random.default_rng([seed, 77])
    count = num_rows or int((PAST_S + WINDOW_S) * ROWS_PER_S)
    clock = np.sort(rng.random(count) ** rng.uniform(0.9, 1.1)) * (PAST_S + WINDOW_S)
    rows = _draw(rng, clock)
    truth = FAULTS[fault](rows) if fault else None
    return _answer(rows, clock, rng), truth


def _draw(rng: np.random.Generator, clock: Array) -> Rows:
    count = len(clock)

    def pick(names: tuple[str, ...], weights: Array) -> Array:
        return rng.choice(np.array(names, object), count, p=weights / weights.sum())

    def zipf(num: int, power: float = 1.0) -> Array:
        return rng.permutation(1 / np.arange(1, num + 1) ** power)

    tenants = tuple(f"tenant-{number:02d}" for number in range(25))
    hosts = tuple(f"node-{number}" for number in range(6))
    host = pick(hosts, np.ones(6))
    columns = {
        "client": pick(tenants, zipf(25)), "host": host,
        "worker": np.array([f"{name[-1]}{rng.integers(1, 4)}07" for name in host], object),
        "route": pick(("/v1/models/M:predict", "/v1/models/M:explain", "/v2/models/M/infer"), np.array([8, 1, 2])),
        "upstream": pick(("features-a", "features-b", "features-c"), np.array([5.0, 3.0, 2.0])),
        "cache": pick(("hit", "miss"), np.array([9.0, 1.0])), "region": pick(("eu", "us", "asia"), zipf(3)),
        "version": np.full(count, "7", object), "input.country": pick(COUNTRIES, zipf(12)),
        "input.channel": pick(("web", "app", "branch", "phone"), zipf(4)),
        "input.amount": np.round(rng.lognormal(5, 1, count), 2),
        "input.age": np.round(np.clip(rng.normal(42, 13, count), 18, 90)),
        "input.income": np.round(rng.lognormal(10.4, 0.5, count)), "input.visits": rng.poisson(3, count).astype(float),
        "input.length": np.round(rng.lognormal(4.5, 0.8, count)),
    }  # fmt: skip
    in_window = clock >= PAST_S + (rng.uniform(0, 240) if rng.random() < 0.5 else 0)
    rolled = rng.choice(hosts, 3, replace=False)  # a harmless roll-out, and a harmless campaign
    columns["build"] = np.where(in_window & np.isin(host, rolled), "b42", "b41").astype(object)
    campaign = in_window & (rng.random(count) < 0.25)
    columns["source"] = np.where(campaign, "spring", pick(("direct", "search", "mail"), zipf(3))).astype(object)
    always_bad = rng.choice(tenants)
    fail = (rng.random(count) < 0.004) | ((columns["client"] == always_bad) & (rng.random(count) < 0.12))
    for _ in range(4):  # bursts that end by themselves, in the past
        burst = np.abs(clock - rng.uniform(0, PAST_S - 600)) < 20
        fail |= burst & (rng.random(count) < 0.1)
    return Rows(columns, in_window, rng, np.zeros(count, bool), fail, np.ones(count), clock)


def _answer(rows: Rows, clock: Array, rng: np.random.Generator) -> pa.Table:
    """What the model says of the rows as they came, and the log of it."""
    count, columns = len(clock), rows.columns
    amount, age = columns["input.amount"], columns["input.age"]
    country = np.array([hash_weight(str(name)) for name in columns["input.country"]])
    margin = (
        0.9 * (np.log(np.maximum(amount, 1e-3)) - 5) - 0.04 * (np.where(np.isnan(age), 42, age) - 42) + country
        - 0.8 * (np.log(np.maximum(columns["input.income"], 1)) - 10.4) + 0.2 * (columns["input.visits"] - 3) - 1.6
    )  # fmt: skip
    chance = 1 / (1 + np.exp(-np.clip(margin, -30, 30)))
    label = rng.random(count) < chance
    prediction = np.where(rows.wrong, ~(chance > 0.5), chance > 0.5)
    unseen = ~np.isin(columns["input.country"].astype(str), COUNTRIES)
    flags = np.char.add(np.where(unseen, "unseen:country,", ""), np.where(np.isnan(age), "imputed:age,", ""))
    flags = np.char.rstrip(np.char.add(flags, np.where((amount > 40_000) | (amount < 0), "outside:amount", "")), ",")
    length = columns["input.length"]
    duration = 0.004 * rng.lognormal(0, 0.35, count) * (1 + length / 300) * np.where(columns["cache"] == "miss", 1.6, 1)
    duration = duration * np.where(columns["route"] == "/v1/models/M:explain", 3.0, 1.0) * rows.slow
    time_s = START_S + clock + np.array([rows.shift_s.get(str(name), 0.0) for name in columns["host"]])
    answered = ~rows.fail
    words = {
        "input.comment": [
            f"{number:x} " + "word " * (size // 5) for number, size in enumerate(length.astype(int).tolist())
        ]
    }
    table = {
        "time": pa.array((time_s * 1e6).astype(np.int64), pa.timestamp("us", "UTC")),
        "request_id": [f"r{number:08d}" for number in range(count)], "row": np.zeros(count, np.int64),
        "num_rows": np.ones(count, np.int64), "model": np.full(count, "loans", object),
        "status": np.where(rows.fail, 503, 200), "error": np.where(rows.fail, "engine_lost", None),
        "duration_s": duration, "prediction": np.where(answered, np.where(prediction, "bad", "good"), None),
        "confidence": pa.array(np.maximum(chance, 1 - chance), mask=~answered), "flags": flags,
        "label": np.where(answered, np.where(label, "bad", "good"), None),
        **{name: values for name, values in columns.items() if name != "input.length"}, **words,
    }  # fmt: skip
    return pa.table(
        {name: values if isinstance(values, pa.Array) else pa.array(values) for name, values in table.items()}
    )


def hash_weight(name: str) -> float:
    """A small effect of a name, the same in every run."""
    return (sum(map(ord, name)) % 7 - 3) * 0.12


def _fails(name: str, value: str | None = None, share: float = 0.5) -> Fault:
    def fault(rows: Rows) -> Truth:
        chosen = value or rows.common(name)
        rows.fail |= rows.chance(rows.in_window & (rows[name] == chosen), share)
        return Truth({name: chosen})

    return fault


def _slows(name: str, value: str | None = None, factor: float = 5.0) -> Fault:
    def fault(rows: Rows) -> Truth:
        chosen = value or rows.common(name, 0.08, 0.5)
        rows.slow[rows.in_window & (rows[name] == chosen)] *= factor
        return Truth({name: chosen})

    return fault


def _fails_both(first: str, second: str) -> Fault:
    def fault(rows: Rows) -> Truth:
        one, two = rows.common(first, 0.15, 0.4), rows.common(second, 0.15, 0.5)
        rows.fail |= rows.chance(rows.in_window & (rows[first] == one) & (rows[second] == two), 0.7)
        return Truth({first: one, second: two})

    return fault


def slow_both(rows: Rows) -> Truth:
    one, two = rows.common("host"), rows.common("upstream", 0.15, 0.6)
    rows.slow[rows.in_window & (rows["host"] == one) & (rows["upstream"] == two)] *= 6
    return Truth({"host": one, "upstream": two})


def bad_canary(rows: Rows) -> Truth:
    canary = rows.in_window & (rows.rng.random(len(rows.in_window)) < 0.3)
    rows["version"][canary] = "8"
    rows.fail |= rows.chance(canary, 0.3)
    return Truth({"version": "8"})


def bad_rollout(rows: Rows) -> Truth:
    rows["version"][rows.in_window] = "8"
    rows.wrong |= rows.chance(rows.in_window, 0.25)
    return Truth({"version": "8"})


def long_inputs(rows: Rows) -> Truth:
    long = rows["input.length"] > np.quantile(rows["input.length"], 0.93)
    rows.slow[rows.in_window & long] *= 6
    return Truth({"length of input.comment": None})


def cold_cache(rows: Rows) -> Truth:
    cold = rows.chance(rows.in_window, 0.7)
    rows["cache"][cold] = "miss"
    rows.slow[rows.in_window & (rows["cache"] == "miss")] *= 4
    return Truth({"cache": "miss"})


def column_scaled(rows: Rows) -> Truth:
    rows["input.amount"][rows.in_window] *= 100
    return Truth({"input.amount": None})


def encoding_broken(rows: Rows) -> Truth:
    for name, broken in MOJIBAKE.items():
        rows["input.country"][rows.in_window & (rows["input.country"] == name)] = broken
    return Truth({"input.country": None})


def column_missing(rows: Rows) -> Truth:
    rows["input.age"][rows.chance(rows.in_window, 0.5)] = np.nan
    return Truth({"input.age": None})


def column_stuck(rows: Rows) -> Truth:
    rows["input.income"][rows.chance(rows.in_window, 0.8)] = 0.0
    return Truth({"input.income": None})


def clock_skew(rows: Rows) -> Truth:
    host = rows.common("host")
    rows.shift_s[host] = float(rows.rng.choice([-1_500, 2_400]))
    rows.fail |= rows.chance(rows.in_window & (rows["host"] == host), 0.4)
    return Truth({"host": host})


def traffic_mix(rows: Rows) -> Truth:
    """The tenant that fails at all times asks much more often."""
    failing = {name: rows.fail[rows["client"] == name].mean() for name in np.unique(rows["client"].astype(str))}
    worst = max(failing, key=lambda name: failing[name])
    moved = rows.chance(rows.in_window & (rows["client"] != worst), 0.4)
    rows["client"][moved] = worst
    rows.fail |= rows.chance(moved, float(failing[worst]))
    return Truth({"client": worst})


def number_range(rows: Rows) -> Truth:
    low, high = np.quantile(rows["input.income"], [0.7, 0.8])
    rows.fail |= rows.chance(rows.in_window & (rows["input.income"] >= low) & (rows["input.income"] < high), 0.6)
    return Truth({"input.income": None})


def each_minute(rows: Rows) -> Truth:
    """What runs at the beginning of each minute slows all down."""
    second = np.mod(START_S + rows.clock, 60)
    rows.slow[rows.in_window & (second < 10)] *= 6
    return Truth({"second of the minute": None})


def wrong_answers(rows: Rows) -> Truth:
    channel = rows.common("input.channel", 0.08, 0.4)
    rows.wrong |= rows.chance(rows.in_window & (rows["input.channel"] == channel), 0.6)
    return Truth({"input.channel": channel})


FAULTS: dict[str, Fault] = {
    "bad_tenant": _fails("client"), "bad_canary": bad_canary, "bad_rollout": bad_rollout, "long_inputs": long_inputs,
    "cold_cache": cold_cache, "slow_host": _slows("host"), "column_scaled": column_scaled,
    "encoding_broken": encoding_broken, "upstream_5xx": _fails("upstream", None, 0.4), "clock_skew": clock_skew,
    "tenant_and_route": _fails_both("client", "upstream"), "host_and_upstream": slow_both,
    "column_missing": column_missing, "column_stuck": column_stuck, "sick_worker": _fails("worker", None, 0.35),
    "traffic_mix": traffic_mix,
    "number_range": number_range, "each_minute": each_minute, "wrong_answers": wrong_answers,
    "slow_region": _slows("region"),
}  # fmt: skip
