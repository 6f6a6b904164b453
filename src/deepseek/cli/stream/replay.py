"""`deepseek stream BUNDLE --replay TRANSACTIONS`: a table of past rows, played through the scorer."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from deepseek.cli.support import output
from deepseek.cli.support.progress import Progress
from deepseek.cli.support.serving import explainer_of
from deepseek.errors import InputError, StorageError
from deepseek.files import atomic_file, check_writable

if TYPE_CHECKING:
    from deepseek.contracts import Float32
    from deepseek.serve.replay.figures import ReplayReport
    from deepseek.serve.replay.injection import Injection
    from deepseek.serve.scoring.scorer import EventScorer

NUM_REASONS = 3
LANGUAGES: tuple[Literal["en", "zh"], ...] = ("en", "zh")
KINDS = ("card", "terminal", "ring")


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """What a person may ask of a replay."""

    bundle: Path
    transactions: Path
    state: Path | None
    history: tuple[Path, ...]
    speed: float | None  # times real time; None: without waiting
    inject: tuple[str, ...]
    seed: int
    html: Path | None
    reasons: bool
    key: Path | None


def speed_of(text: str) -> float | None:
    """A number above 0, or "max", which is None.

    >>> speed_of("10"), speed_of("max")
    (10.0, None)
    """
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise click.BadParameter(f"{text!r} is no speed: a number above 0 (1 is real time), or max")
    return speed


def run_replay(options: ReplayOptions) -> ReplayReport:
    """Play the rows, until they end or a signal comes; write the page where one is asked for."""
    from deepseek.data import read_table
    from deepseek.serve.replay.figures import ReplayContext, measure
    from deepseek.serve.replay.injection import inject
    from deepseek.serve.replay.player import Pacing, play
    from deepseek.serve.replay.rows import read_rows
    from deepseek.serve.scoring.messages import StreamScorer
    from deepseek.serve.scoring.scorer import EventScorer

    if options.html is not None:
        check_writable(options.html)
    table = read_table(options.transactions)
    history = [read_table(path) for path in options.history]
    with (
        scratch_state(options.state) as state,
        closing(EventScorer.open(options.bundle, state, key=options.key)) as scorer,
    ):
        definition = scorer.definition
        read_rows(table, definition, scorer.reader.names)  # what is wrong with the table is said before it is added to
        injections: list[Injection] = []
        for kind in options.inject:
            injections.append(inject(table, definition, kind, seed=options.seed, earlier=injections))
        rows = read_rows(table, definition, scorer.reader.names, history=history, injections=injections)
        scorer.warm_up()
        streaming = StreamScorer(scorer, BilingualReasons(scorer) if options.reasons else None)
        with closing(Progress()) as progress, stop_signal() as is_stopping:
            pacing = Pacing(options.speed, lambda: bool(is_stopping), progress)
            playback = play(streaming, rows, pacing)
        manifest = scorer.runtime.manifest
        context = ReplayContext(
            str(options.bundle), manifest.model_digest(), str(options.transactions),
            "new" if options.state is None else f"a copy of {options.state}", options.speed, options.seed,
            manifest.threshold, len(history),
        )  # fmt: skip
        report = measure(rows, playback, context)
    if options.html is not None:
        from deepseek.serve.replay.page import render_page

        with atomic_file(options.html) as part:
            part.write_text(render_page(report), encoding="utf-8")
        output.note(f"the page is in {options.html}")
    return report


@contextmanager
def scratch_state(state: Path | None) -> Iterator[Path]:
    """A folder for the state of a replay, gone at the end: new, or a copy of `state`, which is only read."""
    with tempfile.TemporaryDirectory(prefix="deepseek-replay-") as folder:
        scratch = Path(folder) / "state"
        if state is not None:
            _copy_state(state, scratch)
        yield scratch


def _copy_state(state: Path, scratch: Path) -> None:
    """InputError where there is no state; StorageError while another process has it open."""
    import fcntl

    from deepseek.features.folder import LOCK
    from deepseek.features.recovery import DEFINITION

    if not (state / DEFINITION).is_file():
        raise InputError(
            f"there is no state in {state}", expected="a folder that deepseek serve or stream has made",
            fix="leave --state out: a replay begins with a new one",
        )  # fmt: skip
    try:
        lock = os.open(state / LOCK, os.O_RDONLY) if (state / LOCK).exists() else None
        try:
            if lock is not None:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            shutil.copytree(state, scratch, ignore=shutil.ignore_patterns(LOCK))
        finally:
            if lock is not None:
                os.close(lock)
    except BlockingIOError as error:
        raise StorageError(
            f"another process has {state} open", expected="a state that nobody changes meanwhile",
            fix="replay with a copy of it, or end that process",
        ) from error  # fmt: skip
    except (OSError, shutil.Error) as error:
        raise StorageError(
            f"{state} cannot be copied: {error}", expected="room for a copy", fix="set TMPDIR"
        ) from error


@contextmanager
def stop_signal() -> Iterator[list[int]]:
    """Signals that came: the replay ends, and what was played is reported."""
    signals: list[int] = []
    before = {each: signal.signal(each, lambda number, _: signals.append(number)) for each in _SIGNALS}
    try:
        yield signals
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class BilingualReasons:
    """Explains alerts in English and in Chinese; the explainer is made when there is the first."""

    def __init__(self, scorer: EventScorer) -> None:
        self._scorer = scorer

    @cached_property
    def _explainer(self) -> Any:
        return explainer_of(self._scorer.runtime)

    def explain(self, inputs: Float32, values: Any) -> list[bytes]:
        """Of each alert an object of two lists of sentences: prepared rows (N, F), features (N, features)."""
        from deepseek.explain.tabular.reasons import reason_codes
        from deepseek.serve.core.json_body import encode_json

        attribution = self._explainer.explain(inputs)
        outcome = self._scorer.runtime.manifest.target
        texts = []
        for row, features in enumerate(values.tolist()):
            record = self._scorer.describe(features)
            english, chinese = (
                reason_codes(attribution, record, NUM_REASONS, row=row, outcome=outcome, language=language)
                for language in LANGUAGES
            )
            texts.append(encode_json({"en": english, "zh": chinese}))
        return texts
