"""Leaks that files bring, by hand."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from deepseek.data.split.leaks_samples import balanced_accuracy, check_copies, check_presence, content_free_auc
from deepseek.data.split.split import Split


def test_a_report_that_only_the_ill_have_is_refused() -> None:
    ill = np.arange(100) % 2
    (leak,) = check_presence({"report": ill == 1, "scan": np.ones(100, bool)}, ill, task="binary")
    assert (leak.level, leak.name) == ("refuse", "presence:report")
    assert "balanced accuracy 1.00" in leak.message
    assert "0%, 100% of the rows" in leak.message


def test_a_weak_link_is_a_warning_and_none_is_none() -> None:
    draw = np.random.default_rng(0)
    ill = np.arange(2_000) % 2
    weak = draw.random(2_000) < np.where(ill == 1, 0.7, 0.4)  # balanced accuracy (0.7 + 0.6) / 2 = 0.65
    even = draw.random(2_000) < 0.5
    (leak,) = check_presence({"weak": weak, "even": even}, ill, task="binary")
    assert (leak.level, leak.name) == ("warn", "presence:weak")


def test_of_many_classes_chance_is_still_a_half() -> None:
    labels = np.repeat(np.arange(4), 25)
    assert balanced_accuracy(labels == 2, labels) == 1.0  # one bit cannot tell more
    assert abs(balanced_accuracy(np.arange(100) % 2 == 0, labels) - 0.5) < 0.05


def test_values_and_few_rows_are_not_judged() -> None:
    ill = np.arange(100) % 2
    assert not check_presence({"report": ill == 1}, ill, task="regression")
    assert not check_presence({"report": ill[:10] == 1}, ill[:10], task="binary")


def test_a_file_that_is_in_both_parts_under_two_names_is_found(tmp_path: Path) -> None:
    for row in range(20):
        (tmp_path / f"{row}.png").write_bytes(b"picture %d" % (row if row != 17 else 3))
    names = [f"{row}.png" for row in range(20)]
    split = Split(np.arange(10), np.arange(0), np.arange(10, 20))
    (leak,) = check_copies({"scan": names}, split, root=tmp_path)
    assert (leak.level, leak.name) == ("warn", "copies:scan")
    assert "1 of 10 test rows (10.0%)" in leak.message
    assert "row 17" in leak.message


def test_what_lies_elsewhere_and_pipes_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "secret").write_bytes(b"x")
    os.mkfifo(tmp_path / "data" / "pipe")  # whose opening would wait for ever
    split = Split(np.arange(10), np.arange(0), np.arange(10, 20))
    for name in ("../secret", "pipe"):
        assert not check_copies({"scan": [name] * 20}, split, root=tmp_path / "data")


def test_many_copies_are_refused_and_what_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    split = Split(np.arange(10), np.arange(0), np.arange(10, 20))
    (leak,) = check_copies({"scan": [b"same"] * 20}, split, root=None)
    assert leak.level == "refuse"
    assert not check_copies({"scan": ["lost.png"] * 19 + [None]}, split, root=tmp_path)


def test_what_is_no_content_tells_a_class_or_does_not_and_a_group_is_on_one_side_alone() -> None:
    draw = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 3)
    target = np.tile([0, 1], 30)[groups]
    size, none = 300.0 + 200 * target, draw.normal(size=180)
    assert content_free_auc(size[:, None], target, groups) == 1.0
    assert abs(content_free_auc(none[:, None], target, groups) - 0.5) < 0.15
    assert (
        content_free_auc(groups[:, None], target, groups) < 0.7
    )  # by its own number a row would be told, were it on both sides
