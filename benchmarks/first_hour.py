"""The first hour of a new user, on real data: texts in a table, and whether a budget binds.

    python benchmarks/first_hour.py [--quick] [--only texts|budgets]

Each part is a module of its own beside this one, and writes results/first_hour_PART.json.
"""

from __future__ import annotations

import importlib
import sys

from result import finish, options

PARTS = {"texts": "first_hour_texts", "budgets": "first_hour_budgets"}  # name of --only -> module with measure(quick)


def main() -> int:
    chosen = options(__doc__, PARTS, quick="One or two data sets of each part.").parse_args()
    codes = []
    for name, module in PARTS.items():
        if chosen.only in (None, name):
            claims, not_run = importlib.import_module(module).measure(chosen.quick)
            codes.append(finish(f"first_hour_{name}", claims, not_run=not_run))
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
