"""The plan of a run in its folder: found once, and the same when the run goes on.

    plan, spent = plan_of_run(budget, out, rows, 20, what="net.py:build", go_on=False)

OUT/privacy.json holds it. A run that goes on with another budget is refused: its first steps were noised for this one.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from deepseek.bundle.fields import parse_json_object, parse_value
from deepseek.errors import InputError
from deepseek.files import atomic_file, read_bounded
from deepseek.train.private.accountant import Sampling
from deepseek.train.private.budget import PrivacyBudget
from deepseek.train.private.ledger import open_ledger
from deepseek.train.private.plan import PrivacySpent, StepPlan, plan_steps

PLAN_FILE = "privacy.json"
MAX_PLAN_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class RunPlan:
    """privacy.json."""

    run: str  # its name in the ledger
    budget: PrivacyBudget
    plan: StepPlan
    spent: PrivacySpent


def plan_of_run(
    budget: PrivacyBudget | None, out: Path, rows: object, num_passes: int, *, what: str, go_on: bool
) -> tuple[StepPlan | None, PrivacySpent | None]:
    """The steps of the run in `out` over its training rows, and what they cost; nothing without a budget. InputError
    where it began under another budget or on another number of rows, BudgetSpentError for what the budget does not pay
    for."""
    if budget is None:
        return None, None
    from deepseek.train.distributed import ranks
    from deepseek.train.private.stream import SampledRows

    if not isinstance(rows, SampledRows):
        raise InputError(
            "data.train is a function, and the run has a privacy budget", expected="a .npz or .parquet file",
            fix="write the rows to one: each step has to draw them by chance",
        )  # fmt: skip

    check_one_process(ranks.num_ranks())
    path, sampling, num_rows = out / PLAN_FILE, rows.sampling(num_passes), rows.num_rows
    if path.is_file():
        saved = read_plan(path)
        if not go_on:
            raise InputError(
                f"{out} already holds a run under a budget, whose rows have paid for it", expected="an empty folder",
                fix="go on with that run (--resume), or give another folder",
            )  # fmt: skip
        if (saved.budget, saved.plan.sampling, saved.plan.num_rows) != (budget, sampling, num_rows):
            raise InputError(
                f"the run in {out} began with {_words(saved.budget, saved.plan.sampling)}, and would go on with "
                f"{_words(budget, sampling)}",
                expected="the budget, the batches and the epochs with which it began",
                fix="give the same again, or begin anew in another folder",
            )
        return saved.plan, saved.spent
    run = secrets.token_hex(8)
    plan, spent = plan_steps(budget, num_rows, sampling, run=run, what=what)
    with atomic_file(path) as part:
        part.write_text(json.dumps(asdict(RunPlan(run, budget, plan, spent)), indent=2) + "\n")
    return plan, spent


@contextmanager
def withdrawn_without_a_step(out: Path, budget: PrivacyBudget | None) -> Iterator[None]:
    """Take a run out of the ledger again that is refused before anything of it was written."""
    try:
        yield
    except InputError:
        path = out / PLAN_FILE
        if budget is not None and path.is_file() and not any((out / "checkpoints").glob("step-*")):
            run = read_plan(path).run
            if budget.ledger is not None:
                with open_ledger(Path(budget.ledger)) as ledger:
                    ledger.remove(run)
            path.unlink()
        raise


def check_one_process(num_processes: int) -> None:
    """InputError for several: each would draw rows and noise of its own."""
    if num_processes > 1:
        raise InputError(
            f"a run in {num_processes} processes has a privacy budget", expected="one process",
            fix="leave --processes out",
        )  # fmt: skip


def read_plan(path: Path) -> RunPlan:
    """The plan in a file. IntegrityError or InputError for one that was changed."""
    data = read_bounded(path, MAX_PLAN_BYTES, what="a privacy plan", smaller="begin the run anew")
    plan: RunPlan = parse_value(RunPlan, parse_json_object(data, path.name), path.name)
    return plan


def _words(budget: PrivacyBudget, sampling: Sampling) -> str:
    return (
        f"epsilon {budget.epsilon:g} at delta {budget.delta:g}, rows clipped to {budget.clip_norm:g}, "
        f"{sampling.num_steps:,} steps"
    )
