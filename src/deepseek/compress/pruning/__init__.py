"""Structured pruning: whole channels go, so that the smaller network is faster in any engine.

    pruned = prune(module, example, Pruning(drop=0.30))                    # pruned.module, pruned.report
    repaired = repair(pruned.module, batches, TrainConfig(epochs=5), teacher=module, loss=cross_entropy)
    both = prune_and_repair(module, example, Pruning(drop=0.30), batches, TrainConfig(epochs=2), rounds=3, loss=...)

    checks.py     what is refused before any work
    layers.py     what each layer holds and costs
    trace.py      module, example -> which channels belong together
    allocate.py   how many channels each group gives
    apply.py      cuts them and reports
    repair.py     trains what is left, with the unpruned network as its teacher

The door to these names is deepseek.compress.
"""
