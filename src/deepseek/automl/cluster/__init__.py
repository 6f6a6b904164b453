"""A run of `ship` past one machine, by Ray: folds of the search as tasks, the last fit of boosted trees by Ray Train.

What is chosen is what one machine would choose: the same trials in the same order (folds.py). Begin with workers.py.
"""
