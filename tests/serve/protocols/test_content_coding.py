"""Compressed bodies: what a client may send and ask for, and what would swell is stopped."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton

from deepseek.errors import MalformedError, TooLargeError
from deepseek.serve.protocols.content_coding import inflate_bytes

PREDICT = "/v1/models/prices:predict"
INFER = "/v2/models/prices/infer"
BODY = json.dumps({"rows": [[80, 3]] * 400}).encode()


@pytest.mark.parametrize(
    ("coding", "pack"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("GZIP", gzip.compress), ("x-gzip", gzip.compress)],
)
def test_a_packed_body_is_the_body(client: httpx.Client, coding: str, pack: Any) -> None:
    answer = client.post(PREDICT, content=pack(BODY), headers={"content-encoding": coding})
    assert answer.json() == client.post(PREDICT, content=BODY).json()
    example = client.get("/v1/models/prices/example").content
    explained = client.post("/v1/models/prices:explain", content=pack(example), headers={"content-encoding": coding})
    assert explained.status_code == 200, explained.text


@pytest.mark.parametrize(
    ("content", "status"),
    [(gzip.compress(BODY)[:-4], 400), (gzip.compress(BODY) * 2, 400), (BODY, 400), (b"", 400),
     (gzip.compress(b" " * (33 << 20)), 413)],
    ids=["cut", "twice", "plain", "empty", "too large"],
)  # fmt: skip
def test_a_body_that_does_not_unpack_is_refused(client: httpx.Client, content: bytes, status: int) -> None:
    for path in (PREDICT, INFER):
        answer = client.post(path, content=content, headers={"content-encoding": "gzip"})
        assert answer.status_code == status, answer.text
        assert answer.json()["error"]["fix"]


def test_another_coding_is_refused(client: httpx.Client) -> None:
    refused = client.post(PREDICT, content=BODY, headers={"content-encoding": "br"})
    assert refused.status_code == 415
    assert refused.json()["error"]["expected"] == "gzip, deflate, or a body that is not compressed"


def test_what_swells_is_stopped_at_the_limit() -> None:
    bomb = zlib.compress(bytes(200 << 20))
    tracemalloc.start()
    with pytest.raises(TooLargeError):
        inflate_bytes(bomb, 1 << 20)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()
    with pytest.raises(MalformedError, match="ends too early"):
        inflate_bytes(bomb[:-1] if len(bomb) < 1 << 20 else b"", 1 << 30)


@pytest.mark.parametrize("request_coding", [None, "gzip", "deflate"])
@pytest.mark.parametrize("answer_coding", [None, "gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_the_official_client_packs_and_unpacks(
    server: Any, request_coding: str | None, answer_coding: str | None, binary: bool
) -> None:
    rows = np.random.default_rng(0).normal(80, 20, (500, 2)).astype(np.float32)
    infer_input = triton.InferInput("x", [500, 2], "FP32")
    infer_input.set_data_from_numpy(rows, binary_data=binary)
    wanted = [triton.InferRequestedOutput("value", binary_data=binary)]
    with triton.InferenceServerClient(server.url.removeprefix("http://")) as opened:
        response = opened.infer(
            "prices", [infer_input], outputs=wanted,
            request_compression_algorithm=request_coding, response_compression_algorithm=answer_coding,
        )  # fmt: skip
        plain = opened.infer("prices", [infer_input], outputs=wanted, timeout=5_000_000)
    assert np.array_equal(response.as_numpy("value"), plain.as_numpy("value"))


def test_answers_are_packed_for_infer_alone_and_only_when_asked(client: httpx.Client) -> None:
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [400, 2], "data": [80.5] * 800}]}
    packed = client.post(INFER, json=body, headers={"accept-encoding": "gzip"})
    assert (packed.headers["content-encoding"], packed.headers["vary"]) == ("gzip", "accept-encoding")
    whole = client.post(INFER, json=body, headers={"accept-encoding": "identity"})
    assert "content-encoding" not in whole.headers
    assert whole.json() == packed.json()
    assert int(packed.headers["content-length"]) < len(whole.content) / 4
