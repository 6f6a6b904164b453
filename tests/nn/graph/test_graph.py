"""The graph over time: what is sampled was known, numpy runs what torch learned, and a pattern of nodes is learned."""

from __future__ import annotations

import numpy as np
import pytest

from deepseek.errors import InputError
from deepseek.nn.graph import EventGraph, GraphNetwork, fit_network
from deepseek.nn.graph.sample import NUM_FIRST, NUM_MARKS, NUM_SIDE

DAY, DELAY = 10, 30
THERE, KNOWN, FRAUD = -NUM_MARKS, -NUM_MARKS + 1, -NUM_MARKS + 2


def random_graph(number: int, seed: int = 0) -> EventGraph:
    """Events whose first value is their own number, so that a sample can be read back."""
    rng = np.random.default_rng(seed)
    time = np.sort(rng.integers(0, 400, number))
    values = np.column_stack([np.arange(number), rng.normal(size=number)]).astype(np.float32)
    keys = (rng.integers(0, 12, number), rng.integers(0, 8, number))
    return EventGraph(time, keys, values, rng.integers(0, 2, number), delay=DELAY, day=DAY)


def events_in(described: np.ndarray) -> list[int]:
    """The numbers of the events of a sample (K, D), in order."""
    return described[described[:, THERE] == 1][:, 0].astype(int).tolist()


def test_a_sample_holds_the_last_events_of_each_node_and_nothing_that_came_later() -> None:
    number = 300
    graph = random_graph(number)
    rows = np.arange(number)
    past = graph.sample(rows)
    for node, order in enumerate(graph.nodes):
        for row in (0, 57, 150, 299):
            limit = graph.time[row] - (DELAY if node == 1 else 0)
            same = order.code == order.code[row]
            expected = np.flatnonzero(same & (graph.time <= limit) & (rows < row))[::-1][:NUM_FIRST]
            assert events_in(past.first[node][row]) == expected.tolist()
            for place, event in enumerate(expected):
                other = graph.nodes[1 - node].code
                near = np.flatnonzero((other == other[event]) & (rows < row))
                before, after = near[near < event][::-1][:NUM_SIDE], near[near > event][:NUM_SIDE]
                assert events_in(past.second[node][row, place]) == [*before.tolist(), *after.tolist()]


def test_a_verdict_counts_when_the_delay_is_over() -> None:
    graph = random_graph(300)
    row = 250
    changed = random_graph(300)
    not_out = graph.time > graph.time[row] - DELAY
    changed.fraud = np.where(not_out, 1 - graph.fraud, graph.fraud)
    one, other = graph.sample(np.array([row])), changed.sample(np.array([row]))
    for left, right in zip((*one.first, *one.second), (*other.first, *other.second), strict=True):
        np.testing.assert_array_equal(left, right)
    card = one.first[0][0]
    assert (card[card[:, KNOWN] == 0][:, FRAUD] == 0).all()


def test_events_out_of_order_are_refused() -> None:
    with pytest.raises(InputError, match="order of time"):
        EventGraph(np.array([2, 1]), (np.zeros(2, int),) * 2, np.zeros((2, 1), np.float32), np.zeros(2, int), delay=1)


def test_numpy_runs_what_torch_learned() -> None:
    torch = pytest.importorskip("torch")
    from deepseek.nn.graph.fit import forward
    from deepseek.nn.graph.network import standardize

    graph = random_graph(200)
    inputs = np.random.default_rng(1).normal(size=(200, 3)).astype(np.float32)
    inputs[5, 1] = np.nan
    rows = np.arange(100, 200)
    network = fit_network(graph, rows, inputs)
    past = graph.sample(rows)
    score, embedding = network.run(past, inputs[rows])
    own = standardize(inputs[rows], network.arrays["mean"], network.arrays["scale"])
    tensors = [torch.from_numpy(array) for array in (*past.first, *past.second, own)]
    parameters = {name: torch.from_numpy(array) for name, array in network.arrays.items()}
    np.testing.assert_allclose(score, forward(torch, parameters, tensors).numpy(), rtol=1e-3, atol=1e-4)
    assert embedding.shape == (100, 8)
    again = fit_network(graph, rows, inputs)
    np.testing.assert_array_equal(again.run(past, inputs[rows])[0], score)
    alone = GraphNetwork(network.arrays).run(graph.sample(rows[:1]), inputs[rows[:1]])[0]
    np.testing.assert_allclose(alone, score[:1], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_pattern_of_the_second_node_is_learned() -> None:
    """Terminals go bad for a while; nothing in an event itself says so."""
    pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    number = 6_000
    time = np.sort(rng.integers(0, 2_000, number))
    terminal = rng.integers(0, 40, number)
    bad = (time // 250 + terminal) % 8 == 0
    values = np.zeros((number, 1), np.float32)
    graph = EventGraph(time, (rng.integers(0, 300, number), terminal), values, bad.astype(int), delay=DELAY, day=DAY)
    inputs = np.zeros((number, 1), np.float32)
    network = fit_network(graph, np.arange(500, 4_000), inputs)
    rows = np.arange(4_000, number)
    score, _ = network.run(graph.sample(rows), inputs[rows])
    rank = np.argsort(np.argsort(score))
    fraud = bad[rows]
    auc = (rank[fraud].mean() - (fraud.sum() - 1) / 2) / (~fraud).sum()
    assert auc > 0.8


def test_rows_of_one_verdict_teach_nothing() -> None:
    pytest.importorskip("torch")
    graph = random_graph(50)
    graph.fraud = np.zeros(50, int)
    with pytest.raises(InputError, match="one verdict"):
        fit_network(graph, np.arange(50), np.zeros((50, 1), np.float32))
