"""`deepseek serve` of bundles of machines: the route that takes their raw sensor rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from deepseek.cli.support import output

if TYPE_CHECKING:
    from deepseek.cli.support.opening import OpenedModel
    from deepseek.serve import Settings
    from deepseek.serve.fleet.routes import FleetRoutes


def open_fleets(
    models: Mapping[str, OpenedModel], state: Path | None, settings: Settings, key: Path | None
) -> list[FleetRoutes]:
    """The routes of models that know machines, where one process takes the requests. Without a folder for it their
    state is in memory: it is gone when the server ends."""
    from deepseek.engines import Runtime
    from deepseek.features.machines.tables import read_windows

    if settings.front_ends > 1:
        return []
    routes = []
    for name, model in models.items():
        if not isinstance(model, Runtime) or read_windows(model.bundle) is None:
            continue
        from deepseek.serve.fleet.routes import FleetRoutes
        from deepseek.serve.fleet.scorer import FleetScorer

        scorer = FleetScorer.open(model.bundle.path, state, key=key)
        scorer.warm_up()
        if state is None:
            output.note(f"what is remembered of the machines of {name} is in memory alone; --state keeps it")
        routes.append(FleetRoutes(name, scorer, settings.max_queued_rows))
    return routes
