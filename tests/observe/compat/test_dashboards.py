"""The panels of other projects' own dashboards, answered by a real Prometheus beside a real server.

The queries are those of vLLM's examples/observability/prometheus_grafana/grafana.json and
dashboards/grafana/query_statistics.json, of Triton's deploy/k8s-onprem/dashboard.json, and of the form of KServe's
dashboard of latencies.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from deepseek.observe.check import query_prometheus
from deepseek.observe.compat.names import WITHOUT_ANSWER
from deepseek.observe.rules.rule_file import rule_file
from deepseek.observe.rules.thresholds import read_thresholds
from support.nets.tinylm import trained
from support.servers.serving import started, until
from support.servers.watching import needs_prometheus, prometheus

QUANTILES = ("0.99", "0.95", "0.9", "0.5")
OF_ANY, RATE = '{model_name=~"$Deployment_id"}', "[$__rate_interval]"
OF_MODEL = '{model_name="$model_name"}'
VLLM = (
    *(
        f"histogram_quantile({q}, sum by(le) (rate(vllm:{name}_bucket{OF_MODEL}[$__rate_interval])))"
        for name in ("e2e_request_latency_seconds", "inter_token_latency_seconds", "time_to_first_token_seconds")
        for q in QUANTILES
    ),
    *(
        f"rate(vllm:{name}_sum{OF_MODEL}[$__rate_interval])\n/\nrate(vllm:{name}_count{OF_MODEL}[$__rate_interval])"
        for name in ("e2e_request_latency_seconds", "inter_token_latency_seconds", "time_to_first_token_seconds")
    ),
    f"rate(vllm:prompt_tokens_total{OF_MODEL}[$__rate_interval])",
    f"rate(vllm:generation_tokens_total{OF_MODEL}[$__rate_interval])",
    f"vllm:num_requests_running{OF_MODEL}",
    f"vllm:num_requests_waiting{OF_MODEL}",
    f"vllm:kv_cache_usage_perc{OF_MODEL}",
    f"sum by(le) (increase(vllm:request_prompt_tokens_bucket{OF_MODEL}[$__rate_interval]))",
    f"sum by(le) (increase(vllm:request_generation_tokens_bucket{OF_MODEL}[$__rate_interval]))",
    f"sum by(finished_reason) (increase(vllm:request_success_total{OF_MODEL}[$__rate_interval]))",
    f"rate(vllm:request_queue_time_seconds_sum{OF_MODEL}[$__rate_interval])",
    f"rate(vllm:request_prefill_time_seconds_sum{OF_MODEL}[$__rate_interval])",
    f"rate(vllm:request_decode_time_seconds_sum{OF_MODEL}[$__rate_interval])",
    f"rate(vllm:request_max_num_generation_tokens_sum{OF_MODEL}[$__rate_interval])",
    'sum by (model_name) (\n  rate(vllm:request_success_total{model_name=~"$Deployment_id"}[$__rate_interval])\n)',
    f"histogram_quantile(0.99, sum by(le, model_name) (rate(vllm:request_prompt_tokens_bucket{OF_ANY}{RATE})))",
    f"sum(rate(vllm:prompt_tokens_total{OF_ANY}{RATE}))\n/\nsum(rate(vllm:request_success_total{OF_ANY}{RATE}))",
)
TRITON = (
    "count(count(nv_inference_count) by (instance))",
    "sum by (pod) (rate(nv_inference_count[1m])) / ignoring(pod) group_left sum (rate(nv_inference_count[1m]))",
    "sum(nv_inference_request_success) by (pod)",
    "sum(nv_inference_request_failure) by (pod)",
    "sum(rate(nv_inference_compute_infer_duration_us[30s])) by (model) / 1000",
    "avg(rate(nv_inference_queue_duration_us[30s])/(1+rate(nv_inference_request_success[30s]))) by (pod)",
    "nv_gpu_power_usage",
    "sum(nv_gpu_power_usage)",
    "nv_gpu_memory_used_bytes",
    "nv_gpu_utilization * 100",
    "nv_cpu_memory_used_bytes",
    "nv_cpu_utilization * 100",
)
KSERVE = (
    "sum(rate(request_predict_seconds_count{pod=~'.*'}[1m]))",
    *(
        f"histogram_quantile({q}, sum(rate(request_{step}_seconds_bucket{{pod=~'.*'}}[1m])) by (le))"
        for step in ("preprocess", "predict", "postprocess", "explain")
        for q in ("0.5", "0.99")
    ),
)
NEEDS_GPU = "nv_gpu_"


def evaluable(query: str) -> str:
    names = {"$__rate_interval": "30s", "$model_name": "tiny", "$Deployment_id": ".*"}
    return re.sub("|".join(map(re.escape, names)), lambda match: names[match[0]], query)


@pytest.mark.slow
@needs_prometheus
def test_every_panel_of_the_others_has_an_answer_but_those_that_are_named(
    loans: Path, loan: dict[str, Any], tmp_path: Path
) -> None:
    tiny = trained(tmp_path / "tiny")
    environ = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    words = [loans, tiny, "--workers", "1", "--metrics-compat", "vllm,triton,kserve"]
    with (
        started(*words, environ=environ) as server,
        prometheus(tmp_path / "prometheus", [server.url], rule_file(read_thresholds([]))) as base,
    ):
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
        expected = [
            query for query in (*VLLM, *TRITON, *KSERVE)
            if NEEDS_GPU not in query and not any(name in query for name in WITHOUT_ANSWER)
        ]  # fmt: skip
        assert len(expected) == len(VLLM) + len(TRITON) + len(KSERVE) - 1 - 4
        silent: list[str] = []

        def all_answer() -> bool:
            client.completions.create(model="tiny", prompt="To be, or", max_tokens=8, temperature=0)
            for verb in ("predict", "explain"):
                body = {"instances": [loan]}
                assert httpx.post(f"{server.url}/v1/models/loans:{verb}", json=body, timeout=60).status_code == 200
            silent[:] = [query for query in expected if not answers(base, query)]
            return not silent

        try:
            until(all_answer, limit_s=90)
        except AssertionError:
            pytest.fail("\n".join(silent))


def answers(base: str, query: str) -> bool:
    """Whether Prometheus has a number for it."""
    return any(series["value"][1] != "NaN" for series in query_prometheus(base, evaluable(query)))
