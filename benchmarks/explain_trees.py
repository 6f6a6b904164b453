"""Exact reasons of boosted trees (300 trees of depth 6, 30 features): in the process against xgboost, and over HTTP.

    python benchmarks/explain_trees.py [--quick] [--only CLAIM]

xgboost is asked for pred_contribs, from its own DMatrix each time. Ours is what the server's process calls: the values,
and the score of the engine that serves, so that the residual is known. In the process CPU time of one thread counts,
ours and xgboost's in turn. Over HTTP it is rows a second: `deepseek serve` with keys, one front end and one engine
process, a real client on the same two cores, and ours in the process between its rounds.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import secrets
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import xgboost
from result import claim, finish, options
from threadpoolctl import threadpool_limits
from tree_bundle import make

from deepseek.bench import BenchRequest, Load, launch_server, measure
from deepseek.contracts import Float32
from deepseek.engines import Runtime
from deepseek.explain import ModelExplainer, explainer_for
from explain import ratio_of, turns

COUNTS = (1, 16, 256)  # rows of a call
NUM_CONNECTIONS = 4
CLAIMS = ("tree_values", *(f"tree_rate_{count}" for count in COUNTS), "tree_endpoint")


@dataclasses.dataclass(frozen=True)
class Trees:
    """The model in both forms, and rows for it."""

    folder: Path
    bundle: Path
    explainer: ModelExplainer
    booster: xgboost.Booster
    rows: Float32  # (N, 30)
    names: tuple[str, ...]

    @classmethod
    def make(cls, folder: Path) -> Trees:
        served_trees = make(folder, num_columns=30, num_trees=300, depth=6)
        runtime = Runtime.open(served_trees.bundle)
        booster = xgboost.Booster()
        booster.load_model(served_trees.booster_file)
        booster.set_param({"nthread": 1})
        rows = np.random.default_rng(1).normal(size=(max(COUNTS), 30)).astype(np.float32)
        explainer = explainer_for(runtime.model, runtime.preprocessor.owners(), score=runtime.score)
        return cls(folder, served_trees.bundle, explainer, booster, rows, tuple(served_trees.record))

    def theirs(self, count: int) -> Float32:
        """(N, 31), the expected value last."""
        matrix = xgboost.DMatrix(self.rows[:count], feature_names=list(self.names), nthread=1)
        contributions: Float32 = self.booster.predict(matrix, pred_contribs=True)
        return contributions


def in_process(trees: Trees, quick: bool) -> list[dict[str, Any]]:
    """The values, and what they cost."""
    attribution = trees.explainer.explain(trees.rows)
    theirs = trees.theirs(len(trees.rows))
    apart = float(np.abs(np.column_stack([attribution.values, attribution.base_value]) - theirs).max())
    claims = [
        claim(
            "tree_values", ours=apart, unit="log-odds, the largest difference from xgboost's values", op="<=", bar=1e-5,
            num_seeds=len(trees.rows), note=f"largest value {np.abs(theirs).max():.2g}; ours leave over "
            f"{np.abs(attribution.residual).max():.1e} of the answer, xgboost's float32 sums as much",
        )
    ]  # fmt: skip
    for count in COUNTS:
        ways = [lambda: trees.explainer.explain(trees.rows[:count]), lambda: trees.theirs(count)]  # noqa: B023
        ours, rival = turns(ways, 10 if quick else 30)
        claims.append(
            claim(
                f"tree_rate_{count}", ours=1e3 * count / median(ours), rival=1e3 * count / median(rival),
                rival_name="xgboost pred_contribs", ratio=1 / ratio_of(ours, rival), unit="rows/s of CPU", op=">=",
                bar=1.0, num_seeds=len(ours), note=f"{count} rows a call, the score of the serving engine included",
            )
        )  # fmt: skip
    return claims


def endpoint(trees: Trees, quick: bool) -> list[dict[str, Any]]:
    """POST :explain of as many rows a request as a call explains here."""
    count, seconds = max(COUNTS), 2.0 if quick else 4.0
    key = secrets.token_urlsafe(24)
    (trees.folder / "keys").write_text(hashlib.sha256(key.encode()).hexdigest() + "\n")
    body = {"instances": [dict(zip(trees.names, row, strict=True)) for row in trees.rows.tolist()]}
    words = ["--api-keys", str(trees.folder / "keys"), "--front-ends", "1", "--workers", "1"]
    with launch_server(str(trees.bundle), words, {"authorization": f"Bearer {key}"}) as server:
        ask = BenchRequest(
            f"{server.url}/v1/models/{server.model}:explain", (json.dumps(body).encode(),), server.headers, count
        )
        load = Load(NUM_CONNECTIONS, seconds, warmup_s=2.0)
        here, there, failed, used = [], [], 0, []
        for _ in range(3 if quick else 5):
            here.append(rate(lambda: trees.explainer.explain(trees.rows), count, seconds))
            run = measure(ask, load, server.pid)
            there.append(run.per_s * count)
            failed += run.num_failed
            used.append(1e3 * run.cpu_s() / count)
    rounds = ", ".join(f"{each:,.0f}" for each in there)
    return [
        claim(
            "tree_endpoint", ours=median(there), rival=median(here), rival_name="ours in the process",
            ratio=median(a / b for a, b in zip(there, here, strict=True)), unit="rows/s", op=">=", bar=0.9,
            num_seeds=len(there), note=f"{count} rows a request, {NUM_CONNECTIONS} connections, rounds {rounds}/s, "
            f"{median(used):.3f} ms of server CPU a row, {failed} not answered with 200",
        )
    ]  # fmt: skip


def rate(work: Callable[[], Any], count: int, seconds: float) -> float:
    """Rows a second."""
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        work()
        done += count
    return done / (time.perf_counter() - start)


def main() -> int:
    args = options(__doc__, CLAIMS, quick="Fewer and shorter rounds, the same bars.").parse_args()
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        trees = Trees.make(Path(folder))
        claims: list[dict[str, Any]] = []
        if args.only != "tree_endpoint":
            claims += in_process(trees, args.quick)
        if args.only in (None, "tree_endpoint"):
            claims += endpoint(trees, args.quick)
    claims = [each for each in claims if args.only in (None, each["claim"])]
    ran = {each["claim"] for each in claims}
    return finish("explain_trees", claims, not_run=[name for name in CLAIMS if name not in ran])


if __name__ == "__main__":
    sys.exit(main())
