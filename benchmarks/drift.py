"""Drift: how many windows until it is found, beside Evidently and NannyML; how good the estimates without labels are.

`windows_until_found`: twelve kinds of drift in four real tables (drift_tables.py), 250 rows a window, all held against
the same 2,000 earlier rows with the model's answer as a column more. Everyone's alarm is set to 1 in 100 of the same
clean windows of each table. A drift that is not found in 24 windows (--quick: 8) counts as found in the one after.
Rivals see every column by each of several methods of theirs, and by all of them at once; the best of these is the
rival. alibi-detect is left out: its licence (BSL) forbids use in production. Ours is the test of `deepseek observe
drift`: the window, and the last 2, 4, 8 and 16 together. `auc_error`, `accuracy_error`, `..._inside`: see
drift_performance.py. Methods, strengths and settings were chosen on other tables (--development).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from drift_performance import FIGURES, measure_estimates
from drift_tables import DEVELOPMENT, KINDS, MEASURED, RIVALS, Drift, ServedTable
from result import ROOT, claim, finish, options, print_claims

from deepseek.observe.drift.change import ChangeDetector, Changes, WindowSummary
from deepseek.observe.drift.joint import SPANS
from deepseek.observe.drift.scores import ColumnValues, read_columns

CLAIMS = ("windows_until_found", "auc_error", "accuracy_error", "auc_inside", "accuracy_inside")
NUM_BEFORE = 16  # clean windows before a drift, which longer spans look back on
ALARM_SHARE = 0.01
Streams = dict[str, list[pd.DataFrame]]


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    seeds: tuple[int, ...]
    num_clean: int  # windows that alarms are set on
    most_windows: int  # of a drift; one that is not seen in them counts as seen in the one after
    max_columns: int


FULL, QUICK = Scale((101, 102), 300, 24, 12), Scale((101,), 100, 8, 8)


def make_streams(served: ServedTable, scale: Scale) -> Streams:
    """Windows of each drift, NUM_BEFORE clean ones first, and a clean stream."""
    clean = served.windows(np.random.default_rng([77, *scale.seeds]))
    streams = {"clean": [next(clean) for _ in range(scale.num_clean + NUM_BEFORE)]}
    for kind in KINDS:
        for seed in scale.seeds:
            drift = Drift.choose(kind, served, seed)
            rng = np.random.default_rng([seed, KINDS.index(kind), 5])
            source = served.windows(rng)
            before = [next(source) for _ in range(NUM_BEFORE)]
            later = [drift.apply(served, next(source), step, rng) for step in range(scale.most_windows)]
            streams[f"{kind}-{seed}"] = before + later
    return {name: _answer(served, windows) for name, windows in streams.items()}


def _answer(served: ServedTable, windows: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """The windows with the model's answers, without the target."""
    rows = served.answer(pd.concat(windows, ignore_index=True))[[*served.columns, "score"]]
    ends = np.cumsum([len(each) for each in windows])
    return [rows.iloc[end - len(each) : end] for each, end in zip(windows, ends, strict=True)]


def our_scores(reference: pd.DataFrame, streams: Streams) -> dict[str, list[float]]:
    """-log p of each window after the first NUM_BEFORE; of a drift no more than the alarm needs."""
    detector = ChangeDetector(_read(reference))

    def score(summaries: Sequence[WindowSummary]) -> float:
        spans = [detector.measure(WindowSummary.merge(summaries[-count:])) for count in SPANS]
        return -float(np.log(max(Changes.of(spans).p_value, 1e-300)))

    scores: dict[str, list[float]] = {}
    limit = np.inf
    for name in ("clean", *(each for each in streams if each != "clean")):
        scores[name], summaries = [], []
        for place, window in enumerate(streams[name]):
            summaries = [*summaries[-max(SPANS) + 1 :], detector.summarize(_read(window))]
            if place >= NUM_BEFORE and (name == "clean" or max(scores[name], default=0.0) <= limit):
                scores[name].append(score(summaries))
        limit = alarm_limit(scores["clean"])
    return scores


def _read(rows: pd.DataFrame) -> list[ColumnValues]:
    return read_columns(pa.Table.from_pandas(rows, preserve_index=False))


def run_rivals(tables: Mapping[str, tuple[pd.DataFrame, Streams]]) -> dict[str, Any]:
    """{table: {stream: {method: {column: scores}}}}."""
    python = RIVALS / "bin" / "python"
    with tempfile.TemporaryDirectory() as folder:
        for table, (reference, streams) in tables.items():
            place = Path(folder) / table
            place.mkdir()
            reference.to_parquet(place / "reference.parquet", index=False)
            for name, windows in streams.items():
                later = windows[NUM_BEFORE:]
                rows = pd.concat(later).assign(window=np.repeat(np.arange(len(later)), [len(each) for each in later]))
                rows.to_parquet(place / f"{name}.parquet", index=False)
        script = ROOT / "benchmarks" / "rivals" / "drift_windows.py"
        done = subprocess.run([str(python), str(script), folder], stdout=subprocess.PIPE, text=True, check=True)
    window_delays: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return window_delays


def joined_scores(
    window_delays: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]],
) -> dict[str, dict[str, list[float]]]:
    """Of each method the largest of its columns' scores in each window, in standard deviations of that column's clean
    ones; and of each rival all its methods together."""
    methods: dict[str, dict[str, list[float]]] = {}
    clean = window_delays["clean"]
    for stream, by_method in window_delays.items():
        largest = {}
        for method, by_column in by_method.items():
            standard = [
                (np.nan_to_num(np.array(scores, float)) - np.nanmean(usual)) / max(np.nanstd(usual), 1e-9)
                for column, scores in by_column.items()
                if (usual := np.array(clean[method].get(column, [0.0]), float)) is not None
            ]
            largest[method] = np.max(standard, axis=0)
        for who in ("NannyML", "Evidently"):
            largest[f"{who} all"] = np.max([each for name, each in largest.items() if name.startswith(who)], axis=0)
        for method, scores in largest.items():
            methods.setdefault(method, {})[stream] = scores.tolist()
    return methods


def alarm_limit(clean: Sequence[float]) -> float:
    """The score that 1 in 100 clean windows is beyond."""
    return float(np.quantile(clean, 1 - ALARM_SHARE))


def delays(scores: Mapping[str, Sequence[float]], most_windows: int) -> dict[str, int]:
    """Windows until the alarm of each stream of drift, the alarm set on the clean one."""
    limit = alarm_limit(scores["clean"])
    return {
        name: next((place for place, each in enumerate(values, 1) if each > limit), most_windows + 1)
        for name, values in scores.items()
        if name != "clean"
    }


def geometric_mean(values: Sequence[float]) -> float:
    return float(np.exp(np.mean(np.log(values))))


def measure_delays(
    names: Sequence[str], scale: Scale, *, with_rivals: bool
) -> tuple[dict[str, dict[str, int]], dict[str, float]]:
    """Of each contender its delays by table and stream; and of each table the share of clean windows in which our own
    probability is at most ALARM_SHARE."""
    tables: dict[str, tuple[pd.DataFrame, Streams]] = {}
    window_delays: dict[str, dict[str, int]] = {}
    own_alarms = {}
    for name in names:
        served = ServedTable.make(name, scale.seeds[0], max_columns=scale.max_columns)
        tables[name] = served.reference[[*served.columns, "score"]], make_streams(served, scale)
        scores = our_scores(*tables[name])
        own_alarms[name] = float(np.mean(np.array(scores["clean"]) >= -np.log(ALARM_SHARE)))
        window_delays.setdefault("ours", {}).update(
            {f"{name}/{key}": value for key, value in delays(scores, scale.most_windows).items()}
        )
        print(f"{name}: ours done", file=sys.stderr, flush=True)
    for name, by_stream in (run_rivals(tables) if with_rivals else {}).items():
        for method, scores in joined_scores(by_stream).items():
            window_delays.setdefault(method, {}).update(
                {f"{name}/{key}": value for key, value in delays(scores, scale.most_windows).items()}
            )
    return window_delays, own_alarms


def print_table(window_delays: Mapping[str, Mapping[str, int]]) -> None:
    """Geometric means by kind, of each contender."""
    print(f"{'':24}" + "".join(f"{kind[:11]:>12}" for kind in KINDS) + f"{'all':>8}", file=sys.stderr)
    for who, by_stream in window_delays.items():
        means = [
            geometric_mean([value for name, value in by_stream.items() if name.split("/")[1].rsplit("-", 1)[0] == kind])
            for kind in KINDS
        ]
        total = geometric_mean(list(by_stream.values()))
        print(f"{who:24}" + "".join(f"{each:12.2f}" for each in means) + f"{total:8.2f}", file=sys.stderr)


def delay_claims(names: Sequence[str], scale: Scale, *, with_rivals: bool) -> list[dict[str, Any]]:
    window_delays, own_alarms = measure_delays(names, scale, with_rivals=with_rivals)
    print_table(window_delays)
    means = {who: geometric_mean(list(each.values())) for who, each in window_delays.items()}
    ours = means.pop("ours")
    best = min(means, key=lambda who: means[who], default=None)
    others = ", ".join(f"{who} {mean:.2f}" for who, mean in sorted(means.items(), key=lambda pair: pair[1]))
    alarms = ", ".join(f"{name} {share:.3f}" for name, share in own_alarms.items())
    drifts = claim(
        "windows_until_found", ours=ours, unit=f"windows, geometric mean of {len(window_delays['ours'])} drifts",
        rival=None if best is None else means[best], rival_name=best or "",
        ratio=None if best is None else ours / means[best], op="<=" if best else None, bar=0.999 if best else None,
        num_seeds=len(scale.seeds), note=f"{others}; our own p <= .01 in clean windows: {alarms}",
    )  # fmt: skip
    return [drifts]


def estimate_claims(names: Sequence[str], scale: Scale, *, with_rivals: bool) -> list[dict[str, Any]]:
    seeds = tuple(seed + 2 for seed in scale.seeds)  # the first ones had been seen when the method was last changed
    ours, inside, rival = measure_estimates(names, seeds, max_columns=scale.max_columns, with_rival=with_rivals)
    claims = []
    for figure in FIGURES:
        mean = float(np.mean([each for errors in ours[figure].values() for each in errors]))
        other = float(np.mean([each for errors in rival[figure].values() for each in errors])) if with_rivals else None
        by_table = "; ".join(
            f"{name} {np.mean(errors):.4f}" + (f" against {np.mean(rival[figure][name]):.4f}" if with_rivals else "")
            for name, errors in ours[figure].items()
        )
        claims.append(
            claim(
                f"{figure}_error", ours=mean, unit=f"mean absolute error of {len(inside[figure])} windows", rival=other,
                rival_name="NannyML CBPE" if with_rivals else "", ratio=None if other is None else mean / other,
                op="<=" if with_rivals else None, bar=1.0 if with_rivals else None, num_seeds=len(scale.seeds),
                note=by_table,
            )
        )  # fmt: skip
        share = float(np.mean(inside[figure]))
        claims.append(
            claim(
                f"{figure}_inside", ours=abs(share - 0.9), unit="distance to .90 of the share that the interval holds",
                op="<=", bar=0.05, num_seeds=len(scale.seeds),
                note=f"the 90 % interval holds {share:.3f} of the truths",
            )
        )  # fmt: skip
    return claims


def main() -> int:
    parser = options(__doc__, CLAIMS, quick="One seed, 100 clean windows, 8 of a drift, 8 columns.")
    parser.add_argument("--development", action="store_true", help="The tables and seeds that choices were made on.")
    parser.add_argument("--without-rivals", action="store_true")
    args = parser.parse_args()
    with_rivals = not args.without_rivals and (RIVALS / "bin" / "python").exists()
    names = DEVELOPMENT if args.development else MEASURED
    scale = QUICK if args.quick else FULL
    scale = replace(scale, seeds=tuple(seed - 90 for seed in scale.seeds)) if args.development else scale
    claims: list[dict[str, Any]] = []
    for part in (estimate_claims, delay_claims):
        is_delays = part is delay_claims
        if args.only is not None and is_delays != (args.only == "windows_until_found"):
            continue
        claims += [each for each in part(names, scale, with_rivals=with_rivals) if args.only in (None, each["claim"])]
        if not args.development:
            not_run = [name for name in CLAIMS if name not in {each["claim"] for each in claims}]
            status = finish("drift", claims, not_run=not_run)
    if args.development:
        print_claims(claims)
        return 0
    return status


if __name__ == "__main__":
    sys.exit(main())
