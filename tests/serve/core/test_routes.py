"""What a client sees of a running server: good requests, and every kind of bad one."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

JSON = {"content-type": "application/json"}
PREDICT = "/v1/models/loans:predict"
EXPLAIN = "/v1/models/loans:explain"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def post(client: httpx.Client, path: str, body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, (bytes, str)) else json.dumps(body)
    return client.post(path, content=content, headers=JSON | headers)


def test_models_are_listed_and_described(client: httpx.Client) -> None:
    listed = client.get("/v1/models").json()
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == ["loans", "prices"]
    description = client.get("/v1/models/loans").json()
    assert (description["task"], description["target"], description["labels"]) == ("binary", "late", ["no", "yes"])
    assert [column["name"] for column in description["inputs"]] == ["age", "income", "purpose"]
    assert len(description["digest"]) == 64


@pytest.mark.parametrize("model", ["loans", "prices"])
def test_the_example_can_be_posted_unchanged_to_predict_and_explain(client: httpx.Client, model: str) -> None:
    example = client.get(f"/v1/models/{model}/example").json()
    assert len(post(client, f"/v1/models/{model}:predict", example).json()["predictions"]) == 1
    assert len(post(client, f"/v1/models/{model}:explain", example).json()["explanations"]) == 1


def test_a_classification_answers_with_label_and_probabilities(client: httpx.Client, loan: dict[str, Any]) -> None:
    (prediction,) = post(client, PREDICT, {"instances": [loan]}).json()["predictions"]
    assert list(prediction["probabilities"]) == ["no", "yes"]
    assert sum(prediction["probabilities"].values()) == pytest.approx(1)
    assert prediction["label"] == max(prediction["probabilities"], key=prediction["probabilities"].get)
    assert "flags" not in prediction


def test_a_regression_answers_with_value_and_interval(client: httpx.Client) -> None:
    (prediction,) = post(client, "/v1/models/prices:predict", {"instances": [{"area": 80, "rooms": 3}]}).json()[
        "predictions"
    ]
    low, high = prediction["interval"]
    assert low == pytest.approx(prediction["value"] - 8)
    assert high == pytest.approx(prediction["value"] + 8)


def test_missing_and_unseen_values_are_flagged(client: httpx.Client) -> None:
    rows = [{"age": None, "income": 1.0, "purpose": "boat"}, {"age": 30, "income": 1, "purpose": "car"}]
    first, second = post(client, PREDICT, {"instances": rows}).json()["predictions"]
    assert {(flag["column"], flag["what"]) for flag in first["flags"]} == {("age", "imputed"), ("purpose", "unseen")}
    assert "flags" not in second


@pytest.mark.parametrize(
    ("model", "row"),
    [("loans", {"age": 33.5, "income": 2400.0, "purpose": "car"}), ("prices", {"area": 90.0, "rooms": 2.0})],
)
def test_an_explanation_adds_up_to_its_output(client: httpx.Client, model: str, row: dict[str, Any]) -> None:
    (explanation,) = post(client, f"/v1/models/{model}:explain", {"instances": [row]}).json()["explanations"]
    assert set(explanation["values"]) == set(row)
    total = explanation["base_value"] + sum(explanation["values"].values()) + explanation["residual"]
    assert total == pytest.approx(explanation["output"], abs=1e-9)
    assert abs(explanation["residual"]) < 1e-3 * max(1, abs(explanation["output"]))
    assert explanation["scale"]


def test_reasons_come_on_demand_largest_first(client: httpx.Client, loan: dict[str, Any]) -> None:
    (prediction,) = post(client, PREDICT, {"instances": [loan], "reasons": 2}).json()["predictions"]
    sizes = [abs(reason["contribution"]) for reason in prediction["reasons"]]
    assert len(sizes) == 2
    assert sizes == sorted(sizes, reverse=True)
    assert all(reason["column"] in reason["text"] for reason in prediction["reasons"])


def test_answers_do_not_depend_on_company(client: httpx.Client, loan: dict[str, Any]) -> None:
    rows = [loan | {"age": float(age)} for age in range(20, 60)]
    together = post(client, PREDICT, {"instances": rows}).json()["predictions"]
    alone = [post(client, PREDICT, {"instances": [row]}).json()["predictions"][0] for row in rows[:5]]
    assert together[:5] == alone


def test_ten_thousand_rows_are_served(client: httpx.Client, loan: dict[str, Any]) -> None:
    answer = post(client, PREDICT, {"instances": [loan] * 10_000})
    assert answer.status_code == 200
    assert len(answer.json()["predictions"]) == 10_000


BAD_BODIES = [
    (b"", 400), (b"{", 400), (b"[]", 400), (b"null", 400), (b'"x"', 400), (b'{"instances": [NaN]}', 400),
    (b'{"instances": [{"age": Infinity}]}', 400), (b'{"instances": [{"age": 1, "age": 2}]}', 400),
    (b'{"instances": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", 400),
    (b"\xff\xfe", 400), (b'{"instances": [{}]} x', 400),
    (b'{"instances": [{"age": 1e999}]}', 400), (b'{"instances": [{"age": ' + b"9" * 5_000 + b"}]}", 400),
    (b"{}", 422), (b'{"instances": null}', 422), (b'{"instances": {}}', 422), (b'{"instances": []}', 422),
    (b'{"instances": [3]}', 422), (b'{"instances": [[1, 2, 3]]}', 422), (b'{"instances": [null]}', 422),
    (b'{"instances": [{"agee": 3}]}', 422), (b'{"instances": [{"age": "old", "income": 1, "purpose": "car"}]}', 422),
    (b'{"instances": [{"age": [1], "income": 1, "purpose": "car"}]}', 422),
    (b'{"instances": [{"age": {"a": 1}, "income": 1, "purpose": "car"}]}', 422),
    (b'{"instances": [{"age": 1, "income": 1, "purpose": {"a": "b"}}]}', 422),
    (b'{"instance": [{"age": 3}]}', 422), (b'{"records": [{"age": 3}]}', 422),
]  # fmt: skip


@pytest.mark.parametrize("path", [PREDICT, EXPLAIN])
@pytest.mark.parametrize(("body", "status"), BAD_BODIES, ids=[repr(body[:40]) for body, _ in BAD_BODIES])
def test_a_bad_body_gets_an_error_body(client: httpx.Client, path: str, body: bytes, status: int) -> None:
    answer = post(client, path, body)
    assert answer.status_code == status
    check_error(answer)


@pytest.mark.parametrize("path", [PREDICT, EXPLAIN])
@pytest.mark.parametrize("number", [1e300, -1e300, 1e-320, 10**18, -(2**63), 2**64, 3.5e38, 10**400])
def test_numbers_of_any_size_are_answered_or_refused(client: httpx.Client, path: str, number: float) -> None:
    answer = post(client, path, {"instances": [{"age": number, "income": number, "purpose": "car"}]})
    assert answer.status_code in (200, 422)


@pytest.mark.parametrize("number", [1e300, 10**400])
def test_a_number_that_no_column_can_hold_is_imputed_and_flagged(client: httpx.Client, number: float) -> None:
    (prediction,) = post(client, PREDICT, {"instances": [{"age": number, "income": 1, "purpose": "car"}]}).json()[
        "predictions"
    ]
    assert prediction["flags"] == [{"column": "age", "what": "imputed"}]


@pytest.mark.parametrize("reasons", [-1, 1.5, "3", True, None, [1], 10**30])
def test_a_number_of_reasons_must_be_one(client: httpx.Client, loan: dict[str, Any], reasons: Any) -> None:
    check_error(post(client, PREDICT, {"instances": [loan], "reasons": reasons}), 422)


@pytest.mark.parametrize("target", [3, "maybe", ["yes"], {"a": 1}])
def test_a_target_must_be_a_class(client: httpx.Client, loan: dict[str, Any], target: Any) -> None:
    check_error(post(client, EXPLAIN, {"instances": [loan], "target": target}), 422)


def test_a_target_chooses_the_class_that_is_explained(client: httpx.Client, loan: dict[str, Any]) -> None:
    (yes,) = post(client, EXPLAIN, {"instances": [loan], "target": "yes"}).json()["explanations"]
    (default,) = post(client, EXPLAIN, {"instances": [loan]}).json()["explanations"]
    assert yes["target"] == "yes"
    assert yes["values"] == default["values"]


def test_more_rows_than_the_limit_are_too_large(client: httpx.Client, loan: dict[str, Any]) -> None:
    check_error(post(client, PREDICT, {"instances": [{}] * 16_385}), 413)
    check_error(post(client, EXPLAIN, {"instances": [loan] * 1_025}), 413)


def check_error(answer: httpx.Response, status: int | None = None) -> dict[str, str]:
    """Every error body has the same four texts."""
    if status is not None:
        assert answer.status_code == status, answer.text
    error: dict[str, str] = answer.json()["error"]
    assert set(error) == {"code", "message", "expected", "fix"}
    assert error["message"]
    assert "Traceback" not in answer.text
    return error


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/models/lonas", 404), ("POST", "/v1/models/lonas:predict", 404), ("GET", "/v2/models/x/ready", 404),
        ("GET", "/nothing", 404), ("GET", "/v1/models/loans:predict", 405), ("POST", "/v1/models/loans", 405),
        ("DELETE", "/v1/models/loans", 405), ("PATCH", "/", 405), ("OPTIONS", "/v1/models", 405),
        ("GET", "/v2/models/loans/versions/7", 404), ("GET", "/%00/..%2f..%2fetc/passwd", 404),
    ],
)  # fmt: skip
def test_wrong_paths_and_methods(client: httpx.Client, method: str, path: str, status: int) -> None:
    check_error(client.request(method, path), status)


def test_an_unknown_model_names_the_near_one(client: httpx.Client) -> None:
    assert "Did you mean 'loans'?" in check_error(client.get("/v1/models/lonas"))["message"]


@pytest.mark.parametrize("path", ["/v2/models/loans/versions/9/infer", "/v1/models/loans/versions/9:predict"])
def test_a_version_that_is_not_loaded_is_named_with_those_that_are(client: httpx.Client, path: str) -> None:
    refused = check_error(client.post(path, content=b"{}", headers=JSON | {"accept": "application/json"}))
    assert refused["message"] == "the model 'loans' has no version '9'"
    assert refused["expected"] == "1"


def test_a_wrong_method_names_the_right_one(client: httpx.Client) -> None:
    assert client.get(PREDICT).headers["allow"] == "POST"


def test_head_is_get_without_a_body(client: httpx.Client) -> None:
    answer = client.head("/v1/models")
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/json", "content-encoding": "br"},
    ],
)
def test_other_media_are_refused(client: httpx.Client, headers: dict[str, str]) -> None:
    check_error(client.post(PREDICT, content=b"{}", headers=headers), 415)


def test_the_request_id_and_the_trace_come_back(client: httpx.Client, loan: dict[str, Any]) -> None:
    answer = post(client, PREDICT, {"instances": [loan]}, **{"x-request-id": "order-17", "traceparent": TRACE})
    assert answer.headers["x-request-id"] == "order-17"
    assert answer.headers["traceparent"] == TRACE
    replaced = client.get("/v1/models", headers={"x-request-id": "a b<script>"})
    assert replaced.headers["x-request-id"].isalnum()
    assert "traceparent" not in replaced.headers


def test_every_answer_has_security_headers(client: httpx.Client) -> None:
    for path in ("/v1/models", "/nothing", "/v2/health/live"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "server" not in headers


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_run_only_their_own_scripts(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy.split("script-src")[1]


def test_metrics_and_statistics_count_what_was_asked(client: httpx.Client, loan: dict[str, Any]) -> None:
    def count() -> float:
        wanted = 'deepseek_requests_total{model_name="loans",model_version="1",status="200"}'
        return next(float(line.split()[-1]) for line in client.get("/metrics").text.splitlines() if wanted in line)

    post(client, PREDICT, {"instances": [loan]})
    before = count()
    post(client, PREDICT, {"instances": [loan]})
    assert count() == before + 1
    stats = {model["name"]: model for model in client.get("/v1/stats").json()["models"]}
    assert stats["loans"]["num_requests"] > 0
    assert stats["loans"]["latency_p99_s"] >= stats["loans"]["latency_p50_s"] > 0


def test_unknown_models_make_no_labels(client: httpx.Client) -> None:
    client.get("/v1/models/made-up-name")
    assert "made-up-name" not in client.get("/metrics").text
