"""Fits the judge of scope: held questions against those that the assistant does not know.

    judge = fit_scope(inside, ScopeRows(hidden, outside, topics))

Three kinds of rows stand for what is out of scope: questions whose own intent was left out, the everyday questions of
other_topics.py, and questions that the assistant's owner gave as out of scope. The last two are like what people will
ask, so 20 of them count as much as all of the first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deepseek.automl.assistant.judge_fit import fit_judge
from deepseek.contracts import Float64
from deepseek.engines.assistant.judges import ConfidenceModel, energy_places

OUTSIDE_SHARE = 0.3  # of the weight of the judge of scope that lies on questions out of scope; chosen in docs/log.md
REAL_ROWS = 20  # questions out of scope that count as much as all whose intent was left out
MOST_LIKELY = 0.5  # in scope, of an everyday question that is taken for one out of it


@dataclass(frozen=True, eq=False)
class ScopeRows:
    """Signals of questions out of scope."""

    hidden: Float64  # (M, S) whose intent was left out
    outside: Float64  # (K, S) that were given as out of scope
    topics: Float64  # (T, S) of everyday questions


def fit_scope(inside: Float64, rows: ScopeRows) -> ConfidenceModel:
    """The judge, from signals `inside` (N, S) of held questions in scope and those of questions out of it.

    An everyday question may well be one of the assistant's: "what is the weather?" is, for an assistant of the weather.
    So those are left out that a judge without them finds sooner in scope than not.
    """
    topics = rows.topics
    if len(topics):
        draft = _fit_weighted(inside, rows.hidden, rows.outside)
        topics = topics[draft.probabilities(topics) < MOST_LIKELY]
    return _fit_weighted(inside, rows.hidden, np.concatenate([rows.outside, topics]))


def _fit_weighted(inside: Float64, hidden: Float64, outside: Float64) -> ConfidenceModel:
    """A judge that takes OUTSIDE_SHARE of all questions for ones out of scope. It does not read energies: a sum over
    all intents tells how many were left out, and so which rows are those, not whether a question is one that the
    assistant knows."""
    parts = [inside, hidden, outside]
    real = len(outside) / (len(outside) + REAL_ROWS)
    shares = [1 - OUTSIDE_SHARE, OUTSIDE_SHARE * (1 - real), OUTSIDE_SHARE * real]
    num_rows = sum(map(len, parts))
    weights = np.concatenate([
        np.full(len(part), share * num_rows / max(len(part), 1)) for part, share in zip(parts, shares, strict=True)
    ])  # fmt: skip
    is_inside = np.arange(num_rows) < len(inside)
    signals = np.concatenate(parts)
    return fit_judge(signals, is_inside, weights, ignored=energy_places(signals.shape[1]).tolist())
