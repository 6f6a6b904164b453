"""A study on disk: a folder with study.toml, which people write, and log.ndjson, which is only appended to.

    study = Study.open(Path("line3"))
    [asked] = study.ask()
    study.tell(asked.number, {"yield": 81.2, "tear": 0.2})

Each call reads the log anew and holds its lock, so that several people and programs can ask and tell at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deepseek.automl.study.definition import Definition, read_definition
from deepseek.automl.study.log import Entry, open_log, read_log
from deepseek.automl.study.space import Value
from deepseek.automl.study.trials import State, Trial, collect_trials
from deepseek.errors import InputError, MissingError

STUDY_NAME = "study.toml"
MOST_ASKED = 50  # trials in one batch
MOST_REASON = 500  # characters
#: Nothing was told of such a trial. One that was withdrawn may have been run after all.
UNTOLD = ("pending", "withdrawn")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out of a trial: its values, or None where it has failed."""

    number: int
    values: Mapping[str, object] | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Study:
    """A study's folder and what its file says."""

    folder: Path
    definition: Definition

    @classmethod
    def open(cls, folder: Path) -> Study:
        """MissingError where there is none; InputError for a file that is wrong."""
        if not (folder / STUDY_NAME).is_file():
            raise MissingError(
                f"{folder} holds no study", expected=f"a folder with {STUDY_NAME}",
                fix=f"deepseek recipe process init {folder}",
            )  # fmt: skip
        definition = read_definition(folder / STUDY_NAME)
        return cls(folder, definition)

    def trials(self) -> list[Trial]:
        """All trials, without a lock."""
        return self._collect(read_log(self.folder))

    def ask(self, num: int = 1) -> list[Trial]:
        """`num` new trials, which count as pending from now on."""
        from deepseek.automl.study.propose import propose

        if not 1 <= num <= MOST_ASKED:
            raise InputError(f"{num} trials are asked for", expected=f"1 to {MOST_ASKED}", fix="ask for fewer at once")
        with open_log(self.folder) as log:
            trials = self._collect(log.entries)
            proposals = propose(self.definition, trials, num, others=self.other_lines(), pool=self.pool())
            first = max((trial.number for trial in trials), default=0) + 1
            entries = [
                Entry("ask", number, each.recipe, reason=each.kind, chance=each.chance)
                for number, each in enumerate(proposals, start=first)
            ]
            log.append(*entries)
            numbers = {entry.trial for entry in entries}
            return [trial for trial in self._collect(log.entries) if trial.number in numbers]

    def tell(self, number: int, values: Mapping[str, object], *, correct: bool = False) -> Trial:
        """The result of a trial. Told again alike, nothing happens; told otherwise, InputError unless `correct`."""
        return self.tell_all([Outcome(number, values)], correct=correct)[0]

    def tell_failed(self, number: int, reason: str = "", *, correct: bool = False) -> Trial:
        """A trial has ended without a result."""
        return self.tell_all([Outcome(number, None, reason)], correct=correct)[0]

    def tell_all(self, outcomes: Sequence[Outcome], *, correct: bool = False) -> list[Trial]:
        """Several at once: all are checked before any is kept."""
        checked = [
            outcome if outcome.values is None else replace(outcome, values=self.definition.check_values(outcome.values))
            for outcome in outcomes
        ]
        with open_log(self.folder) as log:
            trials = {trial.number: trial for trial in self._collect(log.entries)}
            entries = []
            for outcome in checked:
                entry = _entry_of(outcome, trials, correct=correct)
                if entry is not None:
                    entries.append(entry)
                    trials = {trial.number: trial for trial in collect_trials([*log.entries, *entries])}
            if entries:
                log.append(*entries)
            return [trials[outcome.number] for outcome in checked]

    def tell_history(self, rows: Sequence[tuple[Mapping[str, object], Mapping[str, object]]], source: str) -> int:
        """Recipes and values that were measured outside of the study. Those that are known already are left out; how
        many were new. All rows are checked before any is kept."""
        space = self.definition.space
        checked = [(space.check(recipe), self.definition.check_values(values)) for recipe, values in rows]
        with open_log(self.folder) as log:
            trials = self._collect(log.entries)
            known = [(dict(trial.recipe), dict(trial.values)) for trial in trials if trial.state == "history"]
            number = max((trial.number for trial in trials), default=0)
            entries = []
            for pair in checked:
                if pair not in known:
                    number += 1
                    known.append(pair)
                    entries.append(Entry("history", number, pair[0], pair[1], source))
            if entries:
                log.append(*entries)
        return len(entries)

    def undo(self, number: int, state: State | None = None) -> Trial:
        """Take back what was said of a trial last: a result, a failure, or that it was asked for, after which it is
        withdrawn and can be asked for again. `state`: what the trial is believed to be; InputError where somebody else
        has changed it, and where nothing is left to take back. The log keeps everything."""
        with open_log(self.folder) as log:
            trials = {trial.number: trial for trial in self._collect(log.entries)}
            trial = _find_trial(number, trials)
            if state is not None and trial.state != state:
                raise InputError(
                    f"trial {number} is {trial.state}, not {state}: it was changed since", expected="its latest state",
                    fix="look at it again, then take it back if that is still right",
                )  # fmt: skip
            if trial.state == "withdrawn":
                raise InputError(
                    f"nothing is left to take back of trial {number}", expected="a trial that was not withdrawn",
                    fix="ask for another; where it was run after all, tell its result",
                )  # fmt: skip
            log.append(Entry("undo", number))
            return next(trial for trial in self._collect(log.entries) if trial.number == number)

    def repair(self) -> tuple[str, ...]:
        """Opens the log for writing once; what had to be mended."""
        with open_log(self.folder) as log:
            return log.warnings

    def pool(self) -> list[dict[str, Value]] | None:
        """The recipes of `pool`, where the study is restricted to a table of them."""
        if not self.definition.pool:
            return None
        from deepseek.automl.study.tables import read_recipes

        return read_recipes(self.folder / self.definition.pool, self.definition)

    def other_lines(self) -> list[list[Trial]]:
        """The trials of the lines in `transfer`."""
        from deepseek.automl.study.tables import read_results

        lines = []
        for transfer in self.definition.transfer:
            rows = read_results(self.folder / transfer.file, self.definition)
            lines.append([
                Trial(number, row.recipe, "history", row.values, transfer.name)
                for number, row in enumerate(rows, start=1) if row.recipe and row.values
            ])  # fmt: skip
        return lines

    def _collect(self, entries: Sequence[Entry]) -> list[Trial]:
        """InputError when the study file no longer fits what was asked and told under it."""
        trials = collect_trials(entries)
        space, measured = self.definition.space, set(self.definition.quantities)
        for trial in trials:
            try:
                space.check(trial.recipe)
                if trial.is_measured:
                    self.definition.check_values({name: trial.values[name] for name in measured & set(trial.values)})
            except InputError as error:
                raise InputError(
                    f"trial {trial.number} of the log does not fit {STUDY_NAME}: {error}",
                    expected="parameters that include every trial, and quantities that every result has",
                    fix="widen the ranges again, or begin another study with these trials as its history",
                ) from error  # fmt: skip
        return trials


def _entry_of(outcome: Outcome, trials: Mapping[int, Trial], *, correct: bool) -> Entry | None:
    """What is appended for an outcome; None where it was told before alike."""
    number, values = outcome.number, outcome.values
    trial = _find_trial(number, trials)
    if (trial.state == "failed") if values is None else (trial.is_measured and dict(trial.values) == values):
        return None
    if trial.state not in UNTOLD and not correct:
        was = "failed" if trial.state == "failed" else _as_words(trial.values)
        raise InputError(
            f"trial {number} was told before: {was}", expected="each result once",
            fix="if this one is right and that one was not, say so with --correct",
        )  # fmt: skip
    if values is None:
        return Entry("fail", number, reason=outcome.reason[:MOST_REASON])
    numbers = {name: float(str(value)) for name, value in values.items()}
    return Entry("tell" if trial.state in UNTOLD else "correct", number, values=numbers)


def _find_trial(number: int, trials: Mapping[int, Trial]) -> Trial:
    """InputError for a trial that was never asked for."""
    if number not in trials:
        pending = [str(trial.number) for trial in trials.values() if trial.state == "pending"]
        raise InputError(
            f"trial {number} was never asked for", expected=f"one of the open trials: {', '.join(pending) or 'none'}",
            fix="ask first; what was measured outside of the study is told with --history",
        )  # fmt: skip
    return trials[number]


def _as_words(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} = {value:g}" for name, value in values.items())
