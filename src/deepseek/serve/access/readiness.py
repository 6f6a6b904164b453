"""Whether a server should get requests now: what its health check answers, and what its metrics say."""

from __future__ import annotations

from collections.abc import Sequence

from deepseek.errors import DrainingError


def find_not_ready(
    *, draining: bool, num_models: int, num_workers: int, generators: Sequence[bool]
) -> DrainingError | None:
    """The error of a server that is not ready; None for one that is. `generators`: of each model that writes, whether
    its process is ready.

    >>> find_not_ready(draining=False, num_models=1, num_workers=2, generators=()) is None
    True
    >>> find_not_ready(draining=False, num_models=1, num_workers=0, generators=()).message
    'no engine process lives'
    """
    if draining:
        return DrainingError(
            "the server is stopping", expected="a server that takes requests", fix="ask another server"
        )
    if not num_models and not generators:
        return DrainingError(
            "no model is loaded",
            expected="at least one",
            fix="start the server with a bundle: deepseek serve BUNDLE",
        )
    if (num_models and not num_workers) or not all(generators):
        return DrainingError(
            "no engine process lives", expected="at least one", fix="wait: they are being started again"
        )
    return None
