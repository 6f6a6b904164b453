"""A queue that is chosen anew while people label, in a process of its own."""

from __future__ import annotations

import json
import time

import pytest

pytest.importorskip("sklearn")

from automl.label.conftest import MakeProject
from deepseek.automl.label.page.refresh import LOG_NAME, QueueRefresher

PATIENCE_S = 120.0


@pytest.mark.slow
def test_a_queue_is_chosen_at_once_and_after_enough_labels(make_project: MakeProject) -> None:
    with make_project() as project:
        refresher = QueueRefresher(project.folder, every=5)
        try:
            stop_s = time.monotonic() + PATIENCE_S
            while not project.store.connection.execute("SELECT COUNT(*) FROM queue").fetchone()[0]:
                assert time.monotonic() < stop_s
                time.sleep(0.05)
            assert refresher._process is not None
            assert refresher._process.wait(PATIENCE_S) == 0
            assert json.loads((project.folder / LOG_NAME).read_text().splitlines()[-1])["num_queued"] == 32
            first = refresher._process
            refresher.note(4)
            assert refresher._process is first
            refresher.note(1)
            assert refresher._process is not first
        finally:
            refresher.close()
        assert refresher._process.poll() is not None
