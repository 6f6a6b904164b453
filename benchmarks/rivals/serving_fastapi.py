"""FastAPI, as written by hand: pydantic checks the body, the handler runs the engine. One process a worker."""

from __future__ import annotations

from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from serving_engine import MODEL, open_engine, setting

app = FastAPI()
engine = open_engine(MODEL) if __name__ != "__main__" else None


class Body(BaseModel):
    input: str | float


@app.post("/predict")
async def predict(body: Body) -> dict[str, Any]:
    return {"output": engine([body.input])[0]}  # type: ignore[misc]


if __name__ == "__main__":
    uvicorn.run(
        "serving_fastapi:app", host="127.0.0.1", port=setting("PORT"), workers=setting("WORKERS"), access_log=False,
        log_level="warning",
    )  # fmt: skip
