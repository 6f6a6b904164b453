"""Structured pruning: whole channels are removed, so that the smaller network is faster in any engine.

    pruned = prune(module, example, Pruning(drop=0.30))                    # pruned.module, pruned.report
    repaired = repair(pruned.module, batches, TrainConfig(epochs=5), teacher=module, loss=cross_entropy)
    both = prune_and_repair(module, example, Pruning(drop=0.30), batches, TrainConfig(epochs=2), rounds=3, loss=...)

    checks.py     refuses modules that cannot be pruned, before any work
    layers.py     parameters, operations and time of each layer
    trace.py      module, example -> groups of channels that must go together
    allocate.py   number of channels that each group keeps
    apply.py      removes the channels and reports
    repair.py     trains the pruned network, with the unpruned one as its teacher

Import these names from deepseek.compress.
"""
