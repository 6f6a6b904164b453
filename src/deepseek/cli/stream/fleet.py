"""`deepseek stream BUNDLE` of machines: the scorer of a fleet as the stream is wired, and its page."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from deepseek.cli.support import output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deepseek.cli.stream.options import StreamOptions
    from deepseek.contracts import JsonObject
    from deepseek.features.machines.fleet import FleetStore
    from deepseek.recipes.maintenance.page import MachineCourse
    from deepseek.serve.fleet.scorer import FleetScorer

#: A model step of ten machines costs hardly more than that of one: what comes within so long is answered together.
TURN_S = 0.08
PAGE_S = 60.0  # from one page to the next while rows come


def is_machine_bundle(bundle: Path) -> bool:
    """Whether a bundle holds windows of machines. False for what is no bundle: whoever opens it says so."""
    from deepseek.bundle import open_bundle
    from deepseek.errors import DeepseekError
    from deepseek.features.machines.tables import WINDOWS_FILE

    try:
        return open_bundle(bundle).has(WINDOWS_FILE)
    except DeepseekError:
        return False


@dataclass
class FleetAnswers:
    """A scorer of a fleet, which writes its page from time to time and at the end."""

    scorer: FleetScorer
    page: FleetPage | None = None
    turn_s: float = TURN_S

    @classmethod
    def open(cls, options: StreamOptions, tell: Callable[[str], None]) -> FleetAnswers:
        """InputError as FleetScorer.open() raises it."""
        from deepseek.files import check_writable
        from deepseek.serve.fleet.scorer import FleetScorer

        if options.html is not None:
            check_writable(options.html)
        scorer = FleetScorer.open(options.bundle, options.state, key=options.key)
        try:
            scorer.tell = tell
            scorer.warm_up()
            if options.html is None:
                return cls(scorer)
            page = FleetPage(options.html, scorer, options.source)
            scorer.after_sync = page.write_when_due
            return cls(scorer, page)
        except BaseException:
            scorer.close()
            raise

    @property
    def store(self) -> FleetStore:
        return self.scorer.store

    def summary(self) -> JsonObject:
        return {"fleet": self.scorer.figures()}

    def close(self) -> None:
        if self.page is not None:
            self.page.close()
        self.scorer.close()


@dataclass
class FleetPage:
    """The page of a fleet, drawn by a thread of its own: rows do not wait for it."""

    path: Path
    scorer: FleetScorer
    source: str
    _due_s: float = 0.0
    _drawing: Future[None] | None = None
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "page"))

    def write_when_due(self) -> None:
        """Begin a page where the last one is PAGE_S old."""
        now = time.monotonic()
        if now < self._due_s or (self._drawing is not None and not self._drawing.done()):
            return
        self._due_s = now + PAGE_S
        self._drawing = self._pool.submit(self._draw, fleet_courses(self.scorer))

    def close(self) -> None:
        """Write the last page."""
        self._pool.shutdown()
        if len(self.scorer.store.state):
            self._draw(fleet_courses(self.scorer))
            output.note(f"the page of the fleet is in {self.path}")
        else:
            output.note("there is no machine yet, so no page was written")

    def _draw(self, courses: Sequence[MachineCourse]) -> None:
        from deepseek.files import atomic_file
        from deepseek.recipes.maintenance.page import render_page

        page = render_page(courses, self.scorer.definition, data=self.source, digest=self.scorer.runtime.bundle.digest)
        with atomic_file(self.path) as part:
            part.write_text(page, encoding="utf-8")


def fleet_courses(scorer: FleetScorer) -> list[MachineCourse]:
    """The curve of each machine that has an answer, with its alarm and what cannot be believed of it."""
    from dataclasses import replace

    from deepseek.recipes.maintenance.page import MachineCourse

    state = scorer.store.state
    courses = []
    for slot, name in enumerate(state.names):
        curve = state.curve(slot)
        if not len(curve):
            continue
        start = float(state.arrays["first_time"][slot]) if scorer.definition.is_dated else 0.0
        alarm = state.tracker.alarm_of(state.arrays, slot)
        courses.append(
            MachineCourse(
                name, curve[:, 0] - start, curve[:, 1], curve[:, 2:],
                None if alarm is None else replace(alarm, time=alarm.time - start),
                is_silent=bool(state.arrays["is_silent"][slot]), sensor_states=state.sensor_states(slot),
            )
        )  # fmt: skip
    return courses
