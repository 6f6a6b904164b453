"""A graph over time: each event (a payment) joins two nodes (a card, a terminal), and knows its nodes' past.

    graph = EventGraph(time, (card, terminal), values, fraud, delay=7 * 86_400)
    past = graph.sample(rows)                            # what was known of both nodes at the moment of each row
    network = fit_network(graph, rows, inputs)           # plain torch, once
    score, embedding = network.run(past, inputs)         # numpy alone

Begin reading at sample.py; network.py says what is computed, fit.py learns it.
"""

from deepseek.extras import lazy_attributes
from deepseek.nn.graph.network import GraphNetwork
from deepseek.nn.graph.sample import EventGraph, Past

__all__ = ["EventGraph", "GraphNetwork", "Past", "fit_network"]

__getattr__ = lazy_attributes(__name__, {"fit_network": "fit"})
