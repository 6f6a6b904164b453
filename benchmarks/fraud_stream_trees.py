"""Boosted trees as the scoring of raw events runs them (100 trees of depth 6, 60 features), against who runs them else.

    python benchmarks/fraud_stream_trees.py [--quick] [--only CLAIM]

CPU time of one thread, all ways in turn in each round: ours compiled, xgboost's inplace_predict of a numpy array, and
ONNX Runtime with its threads off. Ours gives the chance; xgboost's is asked for it, too.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import xgboost
from result import claim, finish, options
from tree_bundle import make

from deepseek.engines import Runtime
from deepseek.engines.tabular.compiled_trees import CompiledModel
from explain import turns

COUNTS = (100, 1_000)  # rows of a call
MAX_DIFFERENCE = 1e-6
CLAIMS = ("chances", *(f"rows_{count}" for count in COUNTS))


def main() -> int:
    arguments = options(__doc__, CLAIMS, quick="fewer rounds").parse_args()
    rounds, claims = 5 if arguments.quick else 15, []
    with tempfile.TemporaryDirectory() as name:
        written = make(Path(name), num_columns=60)
        runtime = Runtime.open(written.bundle)
        booster = xgboost.Booster(model_file=written.booster_file)
        booster.set_param({"nthread": 1})
        compiled = CompiledModel.of(runtime.model)
        assert compiled is not None
        rows = np.random.default_rng(1).normal(size=(4_096, 60)).astype(np.float32)
        if arguments.only in (None, "chances"):
            difference = np.abs(compiled.score(rows).output[:, 1] - booster.inplace_predict(rows)).max()
            claims.append(
                claim("difference of a chance from xgboost's", ours=float(difference), unit="", op="<=",
                      bar=MAX_DIFFERENCE, note=f"{len(rows):,} rows")
            )  # fmt: skip
        for count in COUNTS:
            if arguments.only not in (None, f"rows_{count}"):
                continue
            part = rows[:count]
            names = ("ours", "xgboost", "ONNX Runtime")
            engine = runtime._open("onnxruntime")
            ways: list[Any] = [
                lambda part=part: compiled.score(part), lambda part=part: booster.inplace_predict(part),
                lambda part=part, engine=engine: engine.score(part),
            ]  # fmt: skip
            times_us = [
                [1e3 * ms / count for ms in times] for times in turns(ways, rounds, calls=max(1, 4_000 // count))
            ]
            middles = dict(zip(names, map(median, times_us), strict=True))
            best = min(names[1:], key=middles.__getitem__)
            ratios = [theirs / ours for ours, theirs in zip(times_us[0], times_us[names.index(best)], strict=True)]
            note = ", ".join(f"{name} {value:.2f} us" for name, value in middles.items())
            claims.append(
                claim(f"CPU a row, {count:,} rows a call", ours=middles["ours"], unit="us", rival=middles[best],
                      rival_name=best, ratio=median(ratios), op=">=", bar=1.0, note=note)
            )  # fmt: skip
        runtime.close()
    return finish("fraud_stream_trees", claims, not_run=())


if __name__ == "__main__":
    sys.exit(main())
