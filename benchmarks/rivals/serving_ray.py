"""Ray Serve: its own batches in replicas of one engine each, behind its proxy."""

from __future__ import annotations

import signal
from typing import Any

import ray
from ray import serve
from serving_engine import MODEL, open_engine, setting
from starlette.requests import Request

BATCH = setting("BATCH")


@serve.deployment(num_replicas=setting("WORKERS"), max_ongoing_requests=512, ray_actor_options={"num_cpus": 0.5})
class Rival:
    def __init__(self) -> None:
        self.engine = open_engine(MODEL)

    @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=0.005 if BATCH > 1 else 0.0)
    async def run(self, inputs: list[Any]) -> list[Any]:
        return self.engine(inputs)

    async def __call__(self, request: Request) -> dict[str, Any]:
        return {"output": await self.run((await request.json())["input"])}


if __name__ == "__main__":
    ray.init("local", num_cpus=4, include_dashboard=False, object_store_memory=100 << 20, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": setting("PORT")})
    serve.run(Rival.bind(), route_prefix="/predict")
    signal.sigwait([signal.SIGTERM, signal.SIGINT])
    serve.shutdown()
    ray.shutdown()
