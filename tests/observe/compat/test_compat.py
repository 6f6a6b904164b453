"""Foreign names: each is made of what is counted here, and says the same in the other project's unit."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from deepseek.cli import main
from deepseek.contracts import Event
from deepseek.engines.llm.run.base import GenerationChunk
from deepseek.errors import InputError
from deepseek.observe.compat.collector import CompatMetrics
from deepseek.observe.compat.names import FOREIGN_NAMES, PROJECTS, WITHOUT_ANSWER, read_projects
from deepseek.observe.compat.triton import MachineFigures
from deepseek.observe.merge import merge_expositions
from deepseek.observe.metrics import Metrics
from deepseek.serve.openai.timing import CompletionTimer, CompletionTimes
from deepseek.serve.status import GeneratorStatus

MARKS = (10.0, 10.001, 10.003, 10.006, 10.010)  # 1 ms decoded, 2 prepared, 3 waited, 4 computed, 5 encoded
GENERATORS = (GeneratorStatus("tiny", "1", 70, 40, 25, 64),)


def watched(*projects: Any) -> tuple[Metrics, CompatMetrics]:
    metrics = Metrics(with_steps="kserve" in projects)
    compat = CompatMetrics(projects, metrics, lambda: SimpleNamespace(generators=GENERATORS))  # type: ignore[arg-type,return-value]
    metrics.watch(compat)
    return metrics, compat


def values(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """By name and the values of the labels, in the order of their names; as OpenMetrics' own parser reads them."""
    families = text_string_to_metric_families(metrics.openmetrics().decode())
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


def test_triton_counts_and_times_are_those_of_the_server() -> None:
    metrics, _ = watched("triton")
    for status in (200, 200, 429, 422, 500):
        marks = MARKS if status == 200 else ()
        rows = 3 if status == 200 else 0
        metrics.emit(Event("request", "loans", "1", status, rows, 0.015, queue_s=0.003, fields={}, marks=marks))
    metrics.emit(Event("batch", "loans", "1", num_rows=6, duration_s=0.004))
    metrics.emit(Event("request", status=404, fields={}))  # of no model
    samples = {name[0]: value for name, value in values(metrics).items() if name[1:] == ("loans", "1")}
    assert samples["nv_inference_request_success"] == 2
    assert samples["nv_inference_count"] == 6
    assert samples["nv_inference_exec_count"] == 1
    in_us = {
        "request_duration": 30_000, "queue_duration": 6_000, "compute_input_duration": 6_000,
        "compute_infer_duration": 8_000, "compute_output_duration": 10_000,
    }  # fmt: skip
    assert {name: round(samples[f"nv_inference_{name}_us"]) for name in in_us} == in_us
    failures = {name[2]: value for name, value in values(metrics).items() if name[0] == "nv_inference_request_failure"}
    assert failures == {"REJECTED": 1, "CANCELED": 0, "BACKEND": 1, "OTHER": 1}
    assert values(metrics)["nv_inference_first_response_histogram_ms_bucket", "25.0", "loans", "1"] == 2


def test_processors_are_told_by_what_they_did_since_the_last_scrape(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 0 0 900 0 0 0 0 0 0\ncpu0 1\n")
    machine = MachineFigures(stat)
    stat.write_text("cpu  130 0 0 960 10 0 0 0 0 0\n")
    samples = {family.name: [sample.value for sample in family.samples] for family in machine.collect()}
    assert samples["nv_cpu_utilization"] == [0.3]
    assert 0 < samples["nv_cpu_memory_used_bytes"][0] <= samples["nv_cpu_memory_total_bytes"][0]
    stat.write_text("nothing")
    assert "nv_cpu_utilization" not in {family.name for family in machine.collect()}


def test_kserves_steps_are_those_of_all_versions_of_a_model() -> None:
    metrics, _ = watched("kserve")
    for version in ("1", "2"):
        metrics.emit(Event("request", "loans", version, 200, 1, 0.015, fields={}, marks=MARKS))
    metrics.emit(Event("explain", "loans", "1", num_rows=1, duration_s=0.3))
    samples = values(metrics)
    sums = {step: samples[f"request_{step}_seconds_sum", "loans"] for step in ("preprocess", "predict", "postprocess")}
    assert sums == pytest.approx({"preprocess": 0.006, "predict": 0.014, "postprocess": 0.010})
    assert samples["request_predict_seconds_count", "loans"] == 2
    assert samples["request_explain_seconds_bucket", "0.25", "loans"] == 0
    assert samples["request_explain_seconds_bucket", "0.5", "loans"] == 1
    assert samples["request_explain_seconds_sum", "loans"] == 0.3


def test_vllms_figures_are_those_of_completions() -> None:
    metrics, compat = watched("vllm")
    whole = CompletionTimes(
        20, 3, first_token_s=0.2, queue_s=0.05, duration_s=0.6, token_gaps=[(0.2, 2)], finish="length"
    )
    given_up = CompletionTimes(20)
    compat.emit(Event("generation", "tiny", "1", fields={"completions": (whole, given_up)}))
    samples = values(metrics)
    tiny = ("0", "tiny")
    assert samples["vllm:e2e_request_latency_seconds_count", *tiny] == 2
    assert samples["vllm:time_to_first_token_seconds_sum", *tiny] == 0.2
    assert samples["vllm:inter_token_latency_seconds_count", *tiny] == 2
    assert samples["vllm:request_queue_time_seconds_sum", *tiny] == 0.05
    assert samples["vllm:request_prefill_time_seconds_sum", *tiny] == pytest.approx(0.15)
    assert samples["vllm:request_decode_time_seconds_sum", *tiny] == pytest.approx(0.4)
    assert samples["vllm:request_max_num_generation_tokens_sum", *tiny] == 3
    finished = {name[2]: value for name, value in samples.items() if name[0] == "vllm:request_success_total"}
    assert finished == {"stop": 0, "length": 1, "abort": 1, "error": 0}
    assert (samples["vllm:num_requests_running", *tiny], samples["vllm:num_requests_waiting", *tiny]) == (64, 6)
    assert samples["vllm:generation_tokens_total", *tiny] == 25


def test_a_timer_knows_when_tokens_came_and_how_a_completion_ended() -> None:
    timer = CompletionTimer([4, 4])
    for piece in (
        GenerationChunk("", (1,), queue_s=9.0),
        GenerationChunk("ab", (2, 3)),
        GenerationChunk("", finish="stop"),
    ):
        timer.take(0, piece)
    first, other = timer.times()
    assert (first.written_tokens, first.finish, [tokens for _, tokens in first.token_gaps]) == (3, "stop", [2])
    assert first.first_token_s is not None
    assert 0 < first.first_token_s <= first.duration_s
    assert first.queue_s == first.first_token_s  # no longer than that, whatever the engine says
    assert (other.finish, other.first_token_s) == ("abort", None)


def test_what_is_told_is_what_the_table_says() -> None:
    metrics, compat = watched(*PROJECTS)
    metrics.emit(Event("request", "loans", "1", 200, 1, 0.015, fields={}, marks=MARKS))
    compat.emit(Event("generation", "tiny", "1", fields={"completions": (CompletionTimes(1),)}))
    table = {each.family: each for each in FOREIGN_NAMES}
    families = {family.name: family for family in compat.collect()}
    assert families.keys() == table.keys() - {"nv_cpu_utilization"} | (families.keys() & {"nv_cpu_utilization"})
    for name, family in families.items():
        for sample in family.samples:
            assert sample.labels.keys() - {"le"} == set(table[name].labels), name
    assert not WITHOUT_ANSWER.keys() & {each.name for each in FOREIGN_NAMES}


def test_front_ends_are_added_up_but_the_machine_is_one() -> None:
    metrics, _ = watched("triton")
    metrics.emit(Event("request", "loans", "1", 200, 3, 0.015, fields={}, marks=MARKS))
    text = metrics.exposition()
    merged = merge_expositions([text, text]).decode()
    assert 'nv_inference_count{model="loans",version="1"} 6.0' in merged
    line = next(line for line in text.decode().splitlines() if line.startswith("nv_cpu_memory_total_bytes "))
    assert line in merged


def test_serve_refuses_a_project_before_it_opens_anything(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "nowhere", "--metrics-compat", "vlm"]) == 2
    assert "Did you mean 'vllm'" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", " , ", "vlm", "vllm;triton", "VLLM", "vllm," + "x" * 1_000])
def test_a_project_that_is_none_is_named(text: str) -> None:
    with pytest.raises(InputError) as failure:
        read_projects(text)
    assert len(str(failure.value)) < 400
