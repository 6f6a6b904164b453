"""A typed client of the server, for scripts and for event loops, by the standard library's HTTP.

    with Client("http://127.0.0.1:8000", api_key="...") as client:
        client.predict([{"age": 61, "income": 48000}]).labels
        client.predict({"age": ages, "income": incomes}, reasons=3).reasons
        client.converse("Where is my card?").text        # of an assistant
    for decision in client.score_stream(payments): ...       # raw events, to a model with a state
    async with AsyncClient("http://127.0.0.1:8000") as client:
        await client.predict(matrix)

Rows are records, columns by name, a numpy matrix or an Arrow table (or a frame that can be one); how they travel is the
client's affair. What the server refuses is raised as the class of error that the server raised. Records and lists need
nothing but the standard library; numpy and pyarrow are imported where an array or a table is sent or returned.
"""

from __future__ import annotations

import warnings

from deepseek.client.aio import AsyncClient
from deepseek.client.answers import PredictResponse
from deepseek.client.conversations import ChatAnswer
from deepseek.client.decisions import EventDecision
from deepseek.client.errors import UnreachableError
from deepseek.client.sync import Client

__all__ = ["AsyncClient", "ChatAnswer", "Client", "EventDecision", "PredictResponse", "UnreachableError"]


def __getattr__(name: str) -> type[PredictResponse]:
    if name != "Answers":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn("deepseek.client.Answers is now PredictResponse", DeprecationWarning, stacklevel=2)
    return PredictResponse
