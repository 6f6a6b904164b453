"""LitServe: batches of its own, one engine in each of its workers."""

from __future__ import annotations

from typing import Any

import litserve
from serving_engine import MODEL, open_engine, setting


class Api(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.engine = open_engine(MODEL)

    def decode_request(self, request):  # unannotated: LitServe reads annotations
        return request["input"]

    def batch(self, inputs: list[Any]) -> list[Any]:
        return list(inputs)

    def predict(self, inputs: Any) -> Any:
        return self.engine(inputs) if isinstance(inputs, list) else self.engine([inputs])[0]

    def unbatch(self, output: list[Any]) -> list[Any]:
        return output

    def encode_response(self, output: Any) -> dict[str, Any]:
        return {"output": output}


if __name__ == "__main__":
    batch = setting("BATCH")
    api = Api(max_batch_size=batch, batch_timeout=0.005 if batch > 1 else 0.0)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=setting("WORKERS"), timeout=60)
    server.run(
        host="127.0.0.1", port=setting("PORT"), num_api_servers=1, log_level="warning", generate_client_file=False,
        access_log=False,
    )  # fmt: skip
