"""The first hour of somebody new, on real data: what `ship` refuses, how sure its rates are, how good it is on texts,
and whether a budget binds.

    python benchmarks/first_hour.py [--quick] [--only leaks|operating_points|texts|budgets]

Each part is a module of its own beside this one, and writes results/first_hour_PART.json.
"""

from __future__ import annotations

import importlib
import sys

from result import finish, options

#: Name of --only -> module whose measure(quick) returns the claims, and what was not run.
PARTS = {
    "leaks": "first_hour_leaks",
    "operating_points": "first_hour_operating_points",
    "texts": "first_hour_texts",
    "budgets": "first_hour_budgets",
}


def main() -> int:
    chosen = options(__doc__, PARTS, quick="Fewer rows, and one or two data sets of each part.").parse_args()
    codes = []
    for name, module in PARTS.items():
        if chosen.only in (None, name):
            claims, not_run = importlib.import_module(module).measure(chosen.quick)
            codes.append(finish(f"first_hour_{name}", claims, not_run=not_run))
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
