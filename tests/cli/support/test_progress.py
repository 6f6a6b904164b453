"""Progress where there is no terminal: a line every few seconds, even while one step takes long."""

from __future__ import annotations

import io
import threading

from deepseek.cli.support.progress import Progress


class Log(io.StringIO):
    """A stream that is no terminal, and says when a line was written."""

    def __init__(self) -> None:
        super().__init__()
        self.has_line = threading.Event()

    def write(self, text: str) -> int:
        written = super().write(text)
        self.has_line.set()
        return written


def test_lines_are_written_while_a_step_takes_long() -> None:
    log = Log()
    progress = Progress(stream=log, interval_s=0.01)
    progress("trial 3: text_linear\x1b[2J", 0.4)
    for _ in range(2):  # nothing is told in between
        log.has_line.clear()
        assert log.has_line.wait(60)
    progress.close()
    lines = log.getvalue().splitlines()
    assert any(line.startswith(" 40%  trial 3: text_linear") and line.endswith("passed") for line in lines)
    assert "\x1b" not in log.getvalue()


def test_a_job_that_is_done_before_the_first_line_writes_none() -> None:
    log = Log()
    progress = Progress(stream=log, interval_s=3_600)
    progress("reading", 0.5)
    progress.close()
    assert log.getvalue() == ""
