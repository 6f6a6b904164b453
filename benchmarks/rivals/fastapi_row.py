"""The server that a user writes by hand: pydantic checks the row, xgboost scores it. Rival of benchmarks/serve_row.py.

    python benchmarks/rivals/fastapi_row.py MODEL.ubj     # prints its port

It gets what helps it: an async handler (no thread per request), uvloop and httptools, no access log.
"""

from __future__ import annotations

import socket
import sys

import numpy as np
import uvicorn
import xgboost
from fastapi import FastAPI
from pydantic import BaseModel, create_model

booster = xgboost.Booster(model_file=sys.argv[1], params={"nthread": 1})
columns = list(booster.feature_names)
Row: type[BaseModel] = create_model("Row", **dict.fromkeys(columns, (float, ...)))
app = FastAPI()


@app.post("/predict")
async def predict(row: Row) -> dict[str, float | str]:
    values = np.array([[getattr(row, name) for name in columns]], np.float32)
    chance = float(booster.predict(xgboost.DMatrix(values, feature_names=columns))[0])
    return {"label": "yes" if chance >= 0.5 else "no", "probability": chance}


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(app, access_log=False, log_level="warning")
    uvicorn.Server(config).run([listener])
