"""The store's core, compiled by numba: one event after the other reads its windows, is answered and is kept.

    score_events(plan, state, time, amount, keys, ids, first, answers, status) -> the row that was reached
    label_events(plan, state, ids, fraud, time, status)

Of each key (a card, a terminal) there is one record and one block of its events in the order of time. A window is a
place in that block, the first event that it holds, with running sums: time moves on, the place moves on, and what is
passed is taken off. So an event costs the same however many a window holds. An event that is late reads its windows
from the block and is put in its place. `reference.py` beside this folder says the same in plain Python.

Begin reading at run.py. Its modules but layout.py import numba.
"""
