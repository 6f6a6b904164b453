"""Train a model, verify it, and publish it unless it is worse than the one in use: a DAG of Airflow 3.

Put this file and verbs.py into the DAGs folder. Its parameters name the table, its target and the two bundles.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param, dag, task
from verbs import check_not_worse, replace_bundle, run_verb


@task
def train(params: Any) -> Any:
    """What `ship` says of the new model, compared with the one in use."""
    return run_verb("ship", params["rows"], "--target", params["target"], "--out", params["new"], "--overwrite",
                    "--against", params["current"])  # fmt: skip


@task
def verify(shipped: Any) -> Any:
    """Fail where a byte is not as it was written."""
    run_verb("verify", shipped["bundle"])
    return shipped


@task
def publish(shipped: Any, params: Any) -> str:
    """Put the new model where a server looks for it, unless it is worse."""
    digest = check_not_worse(shipped)
    replace_bundle(shipped["bundle"], params["current"])
    return digest


@dag(
    schedule=None, catchup=False,
    params={name: Param(type="string") for name in ("rows", "target", "current", "new")},
)  # fmt: skip
def renew_loans() -> None:
    publish(verify(train()))


renew_loans()
