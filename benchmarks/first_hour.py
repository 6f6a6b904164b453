"""The first hour of somebody new: what `ship` refuses, how sure its rates are, how good and how punctual it is.

    python benchmarks/first_hour.py [--quick] [--only CLAIM]

Each claim is a module beside this file, first_hour_CLAIM.py, with `measure(quick)` that returns its claims.
"""

from __future__ import annotations

import importlib
import sys

from result import finish, options

#: The claims in the order in which they run.
CLAIMS = ("leaks", "operating_points")


def main() -> int:
    chosen = options(__doc__, CLAIMS, quick="fewer rows of the large tables").parse_args()
    names = [chosen.only] if chosen.only else CLAIMS
    claims = [each for name in names for each in importlib.import_module(f"first_hour_{name}").measure(chosen.quick)]
    return finish("first_hour", claims, not_run=[name for name in CLAIMS if name not in names])


if __name__ == "__main__":
    sys.exit(main())
