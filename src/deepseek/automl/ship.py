"""`ship`: data in, an evidence-carrying bundle out.

read -> kinds -> split -> leak checks -> prepare -> develop (search, blend, calibrate, refit)
     -> decide -> export with parity -> figures, segments, explanations -> one bundle, written at once
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deepseek.automl.options import ShipOptions
from deepseek.contracts import Figure, Task


@dataclass(frozen=True)
class Shipped:
    """The bundle, and the figures that `ship --json` prints."""

    path: Path
    digest: str
    task: Task
    target: str
    model: str  # the parts of the blend by name
    engine: str
    metrics: dict[str, Figure]
    baseline: dict[str, Figure]  # HistGradientBoosting with its defaults on the same rows
    size_bytes: int
    cpu_s: float
    wall_s: float
    seed: int
    num_trials: int
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The object that --json prints."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "path"}
        plain["bundle"] = str(self.path)
        plain["warnings"] = list(self.warnings)
        for name in ("metrics", "baseline"):
            plain[name] = {key: asdict(found) for key, found in getattr(self, name).items()}
        return plain


def ship(data: Any, *, target: str, **options: Any) -> Shipped:
    """Train, compare, calibrate, check, explain and pack a model for a table.

    `data` is a path (CSV, Parquet, Arrow), a pandas or polars frame or a Table; the other arguments are the fields of
    ShipOptions. Raises InputError for what cannot be used and CheckError for a stated limit that is not met; then no
    bundle is left behind.
    """
    clock = (time.perf_counter(), time.process_time())
    asked = ShipOptions(target=target, **options)
    from deepseek.automl.work import Work

    work = Work.read(data, asked)
    developed = work.develop()
    return work.pack(developed, clock)
