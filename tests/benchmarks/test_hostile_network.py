"""Nothing leaves the machine: every verb under strace, which must see what would leave it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from hostile_network import available, run, watch
from hostile_verbs import verbs, write_inputs

pytestmark = pytest.mark.skipif(not available(), reason="strace is not here, or may not watch a process")
#: Of the quick ones, those whose processes import each library once; the others are the slow test's.
QUICK = ("doctor", "predict", "serve")
CALLING = """
import os, pathlib, socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
    sender.connect(("127.0.0.1", 9))
    sender.send(b"own machine")
    try:
        sender.sendto(b"report", ("198.51.100.1", 9))
    except OSError:
        pass
(pathlib.Path.home() / "queue.db").write_text("report")
(pathlib.Path.home() / ".cache" / "deepseek").mkdir(parents=True)
(pathlib.Path.home() / ".cache" / "deepseek" / "kept").write_text("documented")
"""


def test_a_report_to_another_machine_and_a_file_in_the_home_are_seen(tmp_path: Path) -> None:
    traffic = watch("calling", [sys.executable, "-c", CALLING], tmp_path)
    assert traffic.exit_code == 0, traffic.stderr
    (attempt,) = traffic.attempts
    assert "198.51.100.1" in attempt
    assert traffic.num_bytes in (0, len(b"report"))  # 0 where there is no route
    assert [Path(file).name for file in traffic.files] == ["queue.db"]


@pytest.mark.slow
def test_looking_at_scoring_and_serving_a_bundle_sends_nothing(tmp_path: Path, cancer_bundle: Path) -> None:
    write_inputs(tmp_path, quick=True)
    shutil.copytree(cancer_bundle, tmp_path / "cancer")
    chosen = [verb for verb in verbs() if verb.name in QUICK]
    assert len(chosen) == len(QUICK)
    for traffic in run(chosen, tmp_path):
        assert traffic.exit_code == 0, traffic.stderr
        assert (traffic.attempts, traffic.files) == ((), ()), traffic.verb


@pytest.mark.slow
def test_no_verb_sends_anything_or_leaves_a_file_that_is_not_documented(tmp_path: Path) -> None:
    write_inputs(tmp_path, quick=False)
    for traffic in run(verbs(), tmp_path):
        # Whether int8 is no slower is the processor's affair: 3 says that it is, when all was tried.
        assert traffic.exit_code in ((0, 3) if traffic.verb == "compress_graph" else (0,)), traffic.stderr
        assert (traffic.attempts, traffic.files) == ((), ()), traffic.verb
