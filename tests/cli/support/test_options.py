"""How the text of an option is read, and what is said when it cannot be."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from deepseek.cli.support.options import assignment_of, duration, json_text, share


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("120s", 120), ("2m", 120), ("1.5min", 90), ("1h", 3600)])
def test_a_duration_is_seconds(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-5", "5 weeks", "nan", "1e3"])
def test_a_duration_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="120s"):
        duration(text)


def test_a_pair_splits_at_the_last_equals_sign() -> None:
    assert assignment_of(("numeric", "text"))("a=b=text") == ("a=b", "text")


@pytest.mark.parametrize("text", ["age", "=text", "age=", "age=number"])
def test_a_pair_that_is_none_is_refused_with_the_words_allowed(text: str) -> None:
    with pytest.raises(click.BadParameter, match="numeric, text"):
        assignment_of(("numeric", "text"))(text)


def test_json_is_read_from_the_text_or_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "costs.json"
    file.write_text('{"1": {"0": 10}}')
    assert json_text(str(file)) == json_text('{"1": {"0": 10}}') == {"1": {"0": 10}}


@pytest.mark.parametrize("text", ["no/such/file.json", "{broken", "[" * 100_000])
def test_json_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        json_text(text)


def test_a_per_cent_is_told_how_to_be_a_share() -> None:
    with pytest.raises(click.BadParameter, match=r"For 30 % write 0\.3"):
        share("30")
    assert share("0.30") == 0.3


@pytest.mark.parametrize("text", ["0", "1", "-0.1", "x", "nan"])
def test_a_share_lies_strictly_between_0_and_1(text: str) -> None:
    with pytest.raises(click.BadParameter):
        share(text)
