"""Messages on the graph of payments: a case by hand, and that nothing looks ahead."""

from __future__ import annotations

import numpy as np
from fraud_messages import DAY_S, Values, pass_messages


def heard(name: str, names: tuple[str, ...], values: Values) -> list[float]:
    return [float(value) for value in values[:, names.index(name)]]


def test_a_fraud_that_is_unusual_for_its_card_says_nothing_of_its_terminal() -> None:
    """Cards 1 and 2 at terminal 5: an unusual fraud, then an ordinary one; verdicts are out 7 days later."""
    time_s = np.array([0, 1, 2, 9, 10]) * DAY_S
    fraud, ratio = np.array([0, 1, 1, 0, 0]), np.array([np.nan, 5.0, 1.0, 1.0, 1.0])
    card, terminal, amount = np.array([1, 1, 2, 1, 2]), np.full(5, 5), np.array([10.0, 50.0, 20.0, 10.0, 20.0])
    names, values = pass_messages(time_s, amount, fraud, card, terminal, ratio)
    assert heard("terminal.ordinary_fraud_count.30d", names, values) == [0, 0, 0, 1, 1]
    assert heard("terminal.ordinary_streak", names, values) == [0, 0, 0, 1, 1]
    assert heard("terminal.ordinary_streak_age", names, values)[3:] == [7 * DAY_S, 8 * DAY_S]
    assert heard("terminal.since_genuine", names, values)[3:] == [9 * DAY_S, 10 * DAY_S]
    assert heard("card.unusual_count.14d", names, values) == [0, 0, 0, 1, 0]
    assert heard("card.since_unusual", names, values)[3] == 8 * DAY_S
    assert heard("card.ordinary_ratio.30d", names, values)[3] == 1.0  # of 10 to the one ordinary payment of 10


def test_what_comes_later_changes_no_message() -> None:
    rng = np.random.default_rng(0)
    size = 600
    time_s = np.sort(rng.integers(0, 60 * DAY_S, size))
    columns = (
        rng.integers(1, 9, size) * 1.0,
        rng.integers(0, 2, size),
        rng.integers(0, 9, size),
        rng.integers(0, 5, size),
    )
    ratio = rng.choice([np.nan, 0.5, 1.0, 3.0], size)
    _, whole = pass_messages(time_s, *columns, ratio)
    for stop in (1, 250, 599):
        _, part = pass_messages(time_s[:stop], *(column[:stop] for column in columns), ratio[:stop])
        np.testing.assert_array_equal(part, whole[:stop])


def test_a_verdict_changes_nothing_before_it_is_out() -> None:
    rng = np.random.default_rng(1)
    size = 400
    time_s = np.sort(rng.integers(0, 40 * DAY_S, size))
    amount, fraud = np.ones(size), rng.integers(0, 2, size)
    card, terminal, ratio = rng.integers(0, 9, size), rng.integers(0, 3, size), np.ones(size)
    _, before = pass_messages(time_s, amount, fraud, card, terminal, ratio)
    changed = fraud.copy()
    changed[200] = 1 - changed[200]
    _, after = pass_messages(time_s, amount, changed, card, terminal, ratio)
    other = np.flatnonzero((np.nan_to_num(before, nan=-1) != np.nan_to_num(after, nan=-1)).any(axis=1))
    assert len(other)
    assert (time_s[other] >= time_s[200] + 7 * DAY_S).all()
    assert (terminal[other] == terminal[200]).all()
