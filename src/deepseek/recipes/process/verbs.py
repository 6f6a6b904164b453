"""The settings of a process, improved trial by trial: what `deepseek recipe process` does, with its answers.

init_study(Path("line3"), None, is_example=True)
asked = ask_study(Path("line3"), num=2)
tell_study(Path("line3"), asked.trials[0].number, {"material_yield": "81.2", ...})
report_study(Path("line3")).outlook.gain
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from deepseek.automl.study.definition import Definition, read_definition
from deepseek.automl.study.outlook import Outlook, look_ahead
from deepseek.automl.study.press import STUDY, Press
from deepseek.automl.study.study import STUDY_NAME, Outcome, Study
from deepseek.automl.study.tables import read_results
from deepseek.automl.study.trials import State, Trial
from deepseek.contracts import JsonObject
from deepseek.errors import DeepseekError, InputError
from deepseek.files import atomic_file
from deepseek.look import numbers
from deepseek.results import Result

NUM_EXAMPLE_TRIALS = 12
#: What a trial is after the last that was said of it was taken back.
UNDONE_WORDS: Mapping[State, str] = {
    "pending": "open again", "done": "as it was told before", "failed": "failed again", "history": "as it was imported",
}  # fmt: skip
TEMPLATE = """\
# What may be set: a range, steps (step = 5, or integer = true), a logarithm (log = true), or choices.
[[parameters]]
name = "temperature"
low = 140
high = 220
unit = "°C"

# What should become better. Several objectives give a front to choose from.
[[objectives]]
name = "strength"
goal = "maximize"

# What has to hold: most = ... or least = ...
# [[constraints]]
# name = "cracks"
# most = 0.3

# From a recipe that is known to hold, in small steps; at most 5 % of 30 trials may break a limit on average.
# [safe]
# max_broken = 0.05
# trials = 30
# start = { temperature = 180 }

# What a trial costs, and what one more unit of the first objective is worth.
# [cost]
# trial = 120
# gain = 400
# unit = "EUR"
"""


@dataclass(frozen=True, slots=True, eq=False)
class StudyResult(Result):
    """A study after something was done with it: the trials that this was about."""

    study: Path
    definition: Definition
    trials: tuple[Trial, ...]
    words: str  # what was done, in one sentence
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> JsonObject:
        return {
            "study": str(self.study), "trials": [trial_to_dict(trial) for trial in self.trials],
            "warnings": list(self.warnings),
        }  # fmt: skip

    def summary(self) -> str:
        return self.words


@dataclass(frozen=True, slots=True, eq=False)
class StudyReport(Result):
    """Everything that a study knows, and the figures made of it."""

    study: Path
    definition: Definition
    trials: tuple[Trial, ...]
    outlook: Outlook

    def to_dict(self) -> JsonObject:
        """As `deepseek recipe process report --json` prints it."""
        outlook, risk = self.outlook, self.outlook.risk
        return {
            "study": str(self.study), "name": self.definition.name,
            "trials": [trial_to_dict(trial) for trial in self.trials],
            "best": trial_to_dict(outlook.best) if outlook.best else None,
            "baseline": trial_to_dict(outlook.baseline) if outlook.baseline else None,
            "gain": outlook.gain, "front": [trial.number for trial in outlook.front],
            "risk": {**asdict(risk), "broken": (risk.num_broken + risk.num_failed) / max(risk.num_trials, 1)},
            "left": asdict(outlook.left) if outlook.left else None,
            "forecasts": {
                str(number): {"values": {k: list(v) for k, v in each.values.items()}, "chance": each.chance}
                for number, each in outlook.forecasts.items()
            },
            "slices": [
                {"parameter": each.parameter.name, "settings": each.settings, "median": each.medians,
                 "low": each.lows, "high": each.highs, "chance": each.chances}
                for each in outlook.slices
            ],
        }  # fmt: skip

    def summary(self) -> str:
        """The answer in a few sentences."""
        best, baseline, objective = self.outlook.best, self.outlook.baseline, self.definition.objectives[0]
        unit = f" {objective.unit}" if objective.unit else ""
        lines = []
        if best is None:
            lines.append("No trial holds every limit yet." if self.trials else "No trial was asked for yet.")
        else:
            gain = ""
            if baseline is not None and baseline.number != best.number and self.outlook.gain is not None:
                start = baseline.values[objective.name]
                share = f" ({100 * self.outlook.gain / abs(start):+.1f} % of {start:.5g})" if start else ""
                gain = f", {numbers.number(self.outlook.gain)}{unit} better than trial {baseline.number}{share}"
            lines.append(f"The best is trial {best.number} with {best.values[objective.name]:.5g}{unit}{gain}.")
        risk = self.outlook.risk
        if self.definition.constraints and risk.num_trials:
            lines.append(
                f"{risk.num_broken + risk.num_failed} of {risk.num_trials} trials broke a limit or failed (at most "
                f"{100 * risk.high:.0f} % at 95 % confidence)."
            )
        if (left := self.outlook.left) is not None:
            lines.append(
                f"Still to be expected: {numbers.number(left.expected)}{unit} in all, {numbers.number(left.next_trial)}"
                f"{unit} by the next trial{_worth_words(left.is_worth_it)}."
            )
        return " ".join(lines)


def _worth_words(is_worth_it: bool | None) -> str:
    if is_worth_it is None:
        return ""
    return ", which is worth its cost" if is_worth_it else ", which is not worth its cost: stop"


def trial_to_dict(trial: Trial) -> JsonObject:
    """As --json prints a trial."""
    return {
        "trial": trial.number, "state": trial.state, "recipe": dict(trial.recipe), "values": dict(trial.values),
        "reason": trial.reason, "chance": trial.chance, "time": trial.time,
    }  # fmt: skip


def init_study(folder: Path, source: Path | None, *, is_example: bool = False) -> StudyResult:
    """A new study. InputError where there is one already, or where its file is wrong."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is there already", expected="a new folder", fix="choose another name")
    text = STUDY if is_example else TEMPLATE
    if source is not None:
        if source.is_file():  # a pipe can be read once only: it is checked in its place
            read_definition(source)
        text = source.read_text(encoding="utf-8")
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_file(folder / STUDY_NAME) as part:
        part.write_text(text, encoding="utf-8")
    try:
        study = Study.open(folder)
    except DeepseekError:
        (folder / STUDY_NAME).unlink()
        raise
    if is_example:
        for _ in range(NUM_EXAMPLE_TRIALS):
            [trial] = study.ask()
            study.tell(trial.number, Press().measure(trial.recipe))
        words = f"{folder} holds the study of a simulated press with {NUM_EXAMPLE_TRIALS} trials."
    else:
        words = f"{folder / STUDY_NAME} is the study: see that it says what you mean, then ask."
    return StudyResult(folder, study.definition, tuple(study.trials()), words)


def ask_study(folder: Path, num: int = 1) -> StudyResult:
    """The next recipes to try."""
    study = Study.open(folder)
    warnings = study.repair()
    trials = tuple(study.ask(num))
    if len(trials) < num:
        left = f"the pool had {len(trials)} left"
        warnings = (*warnings, f"{num} recipes were asked for, and {left}")
    pending = sum(trial.state == "pending" for trial in study.trials())
    words = f"{pending} {'trial is' if pending == 1 else 'trials are'} open. Tell the result: deepseek recipe process "
    words += f"tell {folder} {trials[0].number} {' '.join(f'{name}=...' for name in study.definition.quantities)}"
    return StudyResult(folder, study.definition, trials, words, warnings)


def tell_study(
    folder: Path, number: int, values: Mapping[str, object], *, has_failed: bool = False, reason: str = "",
    correct: bool = False,
) -> StudyResult:  # fmt: skip
    """One result."""
    study = Study.open(folder)
    warnings = study.repair()
    if has_failed:
        trial = study.tell_failed(number, reason, correct=correct)
        words = f"Trial {number} has failed; what is near to it is avoided."
    else:
        trial = study.tell(number, values, correct=correct)
        words = f"Trial {number} is kept."
        if study.definition.constraints:
            is_broken = study.definition.is_broken(trial.values)
            words = f"Trial {number} is kept; it {'breaks a limit' if is_broken else 'holds every limit'}."
    return StudyResult(folder, study.definition, (trial,), words, warnings)


def undo_trial(folder: Path, number: int, state: State | None = None) -> StudyResult:
    """What was said of a trial last is taken back. `state`: what the trial is believed to be."""
    study = Study.open(folder)
    warnings = study.repair()
    trial = study.undo(number, state)
    words = f"Trial {number} is withdrawn: it counts as never asked for, unless its result is told."
    if trial.state != "withdrawn":
        words = f"Taken back: trial {number} is {UNDONE_WORDS[trial.state]}."
    return StudyResult(folder, study.definition, (trial,), words, warnings)


def tell_table(folder: Path, table: Path, *, is_history: bool = False, correct: bool = False) -> StudyResult:
    """A table of results: of trials that were asked for, or `is_history`. Every row is checked before any is kept."""
    study = Study.open(folder)
    warnings = study.repair()
    rows = read_results(table, study.definition)
    if is_history:
        pairs = [(row.recipe, row.values) for row in rows if not row.has_failed]
        if any(not row.recipe for row in rows):
            raise InputError(
                f"{table} has rows without a recipe", expected="a value for each parameter", fix="leave out trial"
            )
        num_new = study.tell_history(pairs, table.name)
        words = f"{num_new} of {len(pairs)} rows are new and kept as history."
        return StudyResult(folder, study.definition, (), words, warnings)
    if any(not row.trial for row in rows):
        raise InputError(
            f"{table} tells of recipes, and not of trials", expected="a column trial with the numbers of open trials",
            fix="what was measured outside of the study is told with --history",
        )  # fmt: skip
    outcomes = [Outcome(row.trial, None if row.has_failed else row.values) for row in rows]
    trials = tuple(study.tell_all(outcomes, correct=correct))
    words = "1 result is kept." if len(trials) == 1 else f"{len(trials)} results are kept."
    return StudyResult(folder, study.definition, trials, words, warnings)


def report_study(folder: Path) -> StudyReport:
    """The figures of a study. Nothing is written."""
    study = Study.open(folder)
    trials = study.trials()
    return StudyReport(
        folder, study.definition, tuple(trials), look_ahead(study.definition, trials, study.other_lines())
    )


def run_example() -> StudyReport:
    """The report of a study of the simulated press, which is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "press"
        init_study(study, None, is_example=True)
        return replace(report_study(study), study=Path(study.name))
