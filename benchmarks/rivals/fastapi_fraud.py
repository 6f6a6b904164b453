"""The rival of fraud_stream_server.py: FastAPI, the past of each card and terminal in Redis, xgboost.

    python fastapi_fraud.py MODEL.ubj PORT REDIS_PORT

Of each key a sorted set of its events by time, as people build it: one pipeline writes and reads, Python sums. It
computes counts, sums and means over 1, 7 and 30 days of card and terminal (18 features and the amount), which is fewer
than ours; its answer is a chance and a decision. One process, uvloop and httptools.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import uvicorn
import xgboost
from fastapi import FastAPI, Request
from redis import asyncio as redis

WINDOWS_S = (86_400, 7 * 86_400, 30 * 86_400)
THRESHOLD = 0.5

booster = xgboost.Booster({"nthread": 1})
booster.load_model(sys.argv[1])
store: Any = redis.Redis(connection_pool=redis.BlockingConnectionPool(port=int(sys.argv[3]), max_connections=64))
app = FastAPI()


async def features(events: list[dict[str, Any]]) -> np.ndarray[Any, Any]:
    """The features of each event (N, 19), in order; the state is updated."""
    pipeline = store.pipeline(transaction=False)
    for event in events:
        time, member = event["TX_DATETIME"], f"{event['TRANSACTION_ID']}:{event['TX_AMOUNT']}"
        for key in (f"c{event['CUSTOMER_ID']}", f"t{event['TERMINAL_ID']}"):
            pipeline.zadd(key, {member: time})
            pipeline.zrangebyscore(key, time - WINDOWS_S[-1], time, withscores=True)
    replies = await pipeline.execute()
    rows = []
    for place, event in enumerate(events):
        row = [event["TX_AMOUNT"]]
        for past in (replies[4 * place + 1], replies[4 * place + 3]):
            for window in WINDOWS_S:
                amounts = [float(member.split(b":")[1]) for member, at in past if at > event["TX_DATETIME"] - window]
                total = math.fsum(amounts)
                row += [len(amounts), total, total / max(1, len(amounts))]
        rows.append(row)
    return np.array(rows, np.float32)


def answer(rows: np.ndarray[Any, Any]) -> list[dict[str, Any]]:
    return [{"chance": float(c), "fraud": bool(c >= THRESHOLD)} for c in booster.inplace_predict(rows)]


@app.post("/score")
async def score(request: Request) -> Any:
    body = await request.body()
    import orjson

    events = [orjson.loads(line) for line in body.splitlines()]
    return answer(await features(events))


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[2]), loop="uvloop", http="httptools", log_level="error", access_log=False)
