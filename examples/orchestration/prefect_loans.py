"""Train a model, verify it, and publish it unless it is worse than the one in use: a flow of Prefect 3.

python examples/orchestration/prefect_loans.py loans.csv default loans loans-new
"""

from __future__ import annotations

import sys
from typing import Any

from prefect import flow, task
from verbs import check_not_worse, replace_bundle, run_verb


@task
def train(rows: str, target: str, current: str, out: str) -> Any:
    """What `ship` says of the new model, compared with the one in use."""
    return run_verb("ship", rows, "--target", target, "--out", out, "--overwrite", "--against", current)


@task
def verify(bundle: str) -> None:
    """Fail where a byte is not as it was written."""
    run_verb("verify", bundle)


@task
def publish(new: str, current: str) -> None:
    """Put the new model where a server looks for it (deepseek serve --repository FOLDER --watch 5)."""
    replace_bundle(new, current)


@flow
def renew_model(rows: str, target: str, current: str, new: str) -> str:
    """The digest of the model that is in use afterwards."""
    shipped = train(rows, target, current, new)
    verify(new)
    digest = check_not_worse(shipped)
    publish(new, current)
    return digest


if __name__ == "__main__":
    print(renew_model(*sys.argv[1:5]))  # noqa: T201 - a script's answer
