"""A typed client of the server, for scripts and for event loops, by the standard library's HTTP.

    with Client("http://127.0.0.1:8000", api_key="...") as client:
        client.predict([{"age": 61, "income": 48000}]).labels
        client.predict({"age": ages, "income": incomes}, reasons=3).reasons
    async with AsyncClient("http://127.0.0.1:8000") as client:
        await client.predict(matrix)

Rows are records, columns by name, a numpy matrix or an Arrow table (or a frame that can be one); how they travel is the
client's affair. What the server refuses is raised as the class of error that the server raised.
"""

from __future__ import annotations

from deepseek.extras import need

need("msgspec", extra="serve")

from deepseek.client.aio import AsyncClient  # noqa: E402  (after the check, so that its message is the one seen)
from deepseek.client.answers import PredictResponse  # noqa: E402
from deepseek.client.errors import UnreachableError  # noqa: E402
from deepseek.client.sync import Client  # noqa: E402

__all__ = ["AsyncClient", "Client", "PredictResponse", "UnreachableError"]
