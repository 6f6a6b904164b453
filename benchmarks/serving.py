"""The model server under load: CPU per request, throughput, latency, overload and cold start, alone and beside rivals.

    python benchmarks/serving.py [--quick] [--only CLAIM] [--resume]

Ours is `deepseek serve` as shipped: front ends apart from engine processes, API keys, validation, metrics and the
access log on. Rivals run without logs and keys, each at the best of its settings (serving_rivals.py, .venv-serving).
Rounds alternate and medians are judged. The client runs on the same cores: its CPU is stated. Trees are loaded by wrk
where it is installed, else by our own client, which needs more CPU; texts and open loads always by our own.

null: a tree with one split, the smallest bundle there is, against engines that return at once. row, rows: XGBoost, 15
columns, 100 trees, depth 6. text: all-MiniLM-L6-v2, single texts, against the same engine: in float32, and where a
claim's name says so in int8.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import serving_rivals
import serving_text
import serving_tree
from result import finish, found_before, options
from serving_run import Bench

Made = list[dict[str, Any]]
RIVALS = tuple(serving_rivals.RIVALS)
#: What measures one or more claims -> their names. A group is run for any of its claims.
GROUPS: dict[Callable[[Bench], Iterable[dict[str, Any]]], tuple[str, ...]] = {
    serving_tree.cold_start: ("cold_start_trees",),
    serving_text.cold_start: ("cold_start_text",),
    serving_tree.null: ("null_cpu", "null_rate"),
    serving_tree.row: ("row_rate", "row_p99"),
    serving_tree.rows: ("rows_100_json", "rows_1000_json", "rows_100_arrow", "rows_1000_arrow"),
    serving_text.ceiling: ("text_ceiling",),
    partial(serving_text.ceiling, lossy=True): ("text_ceiling_int8",),
    serving_text.half_load: ("text_p99_half_load",),
    serving_text.overload: ("overload_goodput", "overload_late", "overload_memory"),
    serving_tree.null_rivals: tuple(f"null_{name}{end}" for name in RIVALS for end in ("", "_cpu")),
    serving_text.rivals: tuple(f"text_{name}{end}" for name in RIVALS for end in ("", "_cpu")),
    partial(serving_text.rivals, lossy=True): tuple(
        f"text_{name}_int8{end}" for name in RIVALS for end in ("", "_cpu")
    ),
}
CLAIMS = tuple(name for names in GROUPS.values() for name in names)


def main() -> int:
    parser = options(__doc__, CLAIMS, quick="Shorter rounds, fewer of them; each rival at its likeliest setting.")
    parser.add_argument("--resume", action="store_true", help="Go on behind what this commit's results hold.")
    args = parser.parse_args()
    claims: Made = found_before("serving") if args.resume else []
    before = {each["claim"] for each in claims}
    code = 0
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench.make(Path(folder), quick=args.quick)
        for run, names in GROUPS.items():
            if args.only in (None, *names) and not before.issuperset(names):
                names_left = names if args.only is None else (args.only,)
                claims += [
                    each
                    for each in run(dataclasses.replace(bench, claim_names=names_left))
                    if each["claim"] in names_left
                ]
                ran = {each["claim"] for each in claims}
                code = finish("serving", claims, not_run=[name for name in CLAIMS if name not in ran])
    return code


if __name__ == "__main__":
    sys.exit(main())
