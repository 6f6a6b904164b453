"""BentoML: a batchable endpoint, which takes lists. `bentoml serve serving_bentoml:Rival`."""

from __future__ import annotations

from typing import Any

import bentoml
from serving_engine import MODEL, open_engine, setting


@bentoml.service(workers=setting("WORKERS"), traffic={"timeout": 60}, logging={"access": {"enabled": False}})
class Rival:
    def __init__(self) -> None:
        self.engine = open_engine(MODEL)

    @bentoml.api(batchable=True, max_batch_size=setting("BATCH"), max_latency_ms=60_000)
    def predict(self, input: list[Any]) -> list[Any]:  # noqa: A002  (the name of the field)
        return self.engine(input)
