"""Alert rules: promtool itself runs the unit tests, with our thresholds and with the extreme ones of a user."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from deepseek.errors import CheckError, InputError
from deepseek.observe.rules.rule_file import ALERTS, RULES_NAME, rule_file, unit_tests
from deepseek.observe.rules.runbook import runbook
from deepseek.observe.rules.thresholds import THRESHOLDS, Thresholds, read_thresholds

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is missing: make setup brings it"
)


def check(folder: Path, thresholds: Thresholds) -> bool:
    yaml = pytest.importorskip("yaml")
    from deepseek.observe.export import check_rules

    documents = {RULES_NAME: rule_file(thresholds), **unit_tests(thresholds)}
    for name, document in documents.items():
        (folder / name).write_text(yaml.safe_dump(document, sort_keys=False))
    return check_rules(folder)


@pytest.mark.slow
@needs_promtool
def test_each_rule_is_silent_on_quiet_series_fires_in_its_time_and_ends(tmp_path: Path) -> None:
    assert check(tmp_path, read_thresholds([]))


@pytest.mark.slow
@needs_promtool
@pytest.mark.parametrize("end", ["low", "high"])
def test_so_it_is_with_the_lowest_and_the_highest_thresholds_that_may_be_set(end: str, tmp_path: Path) -> None:
    assert check(tmp_path, read_thresholds([f"{name}={getattr(each, end)}" for name, each in THRESHOLDS.items()]))


@needs_promtool
def test_a_rule_that_does_not_fire_is_caught(tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    from deepseek.observe.export import check_rules

    thresholds = read_thresholds([])
    tests = unit_tests(thresholds)["rules_test.yml"]
    tests["tests"] = [test for test in tests["tests"] if test["name"] == "DeepseekQueue"]
    document = rule_file(thresholds)
    (rule,) = (rule for group in document["groups"] for rule in group["rules"] if rule["alert"] == "DeepseekQueue")
    rule["expr"] = rule["expr"].replace("deepseek_queue_rows", "deepseek_queue_wait_seconds")
    (tmp_path / RULES_NAME).write_text(yaml.safe_dump(document))
    (tmp_path / "rules_test.yml").write_text(yaml.safe_dump(tests))
    with pytest.raises(CheckError, match="promtool test rules fails"):
        check_rules(tmp_path)


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (["latency_p99=fast"], "latency_p99 is 'fast'"), (["latency_p99=0"], "latency_p99 is '0'"),
        (["latency_p99=nan"], "latency_p99 is 'nan'"), (["pssi=0.1"], "Did you mean 'psi'"), (["psi"], "sets nothing"),
        (["psi=0.1", "psi=0.2"], "psi is set twice"),
    ],
)  # fmt: skip
def test_a_threshold_that_is_none_is_refused_in_words(assignments: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_thresholds(assignments)


def test_a_threshold_reaches_rule_and_runbook() -> None:
    thresholds = read_thresholds(["latency_p99=0.8"])
    (alert,) = (alert for alert in ALERTS if alert.name == "DeepseekLatency")
    assert alert.expression(thresholds).endswith("> 0.8")
    assert "--set latency_p99=0.8" in runbook(alert, thresholds)
    rules = [rule for group in rule_file(thresholds, "https://wiki/books/")["groups"] for rule in group["rules"]]
    assert {rule["annotations"]["runbook_url"] for rule in rules} == {f"https://wiki/books/{a.name}.md" for a in ALERTS}


def test_every_runbook_says_what_to_look_at_and_what_to_do() -> None:
    for alert in ALERTS:
        text = runbook(alert, read_thresholds([]))
        assert "## What to look at\n\n1. " in text
        assert "## What to do\n\n- " in text
        assert alert.expression(read_thresholds([])) in text
