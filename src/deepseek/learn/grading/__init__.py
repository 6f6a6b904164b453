"""Grading: checks in a process of their own, the learner's code in another with limits, on inputs nobody has seen."""
