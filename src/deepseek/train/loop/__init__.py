"""The training loop for torch modules: stream, optimizer, precision, validation, loggers, signals.

loop.py has fit() and resume(), config.py what may be set, snapshot.py what a run saves and resumes from, bit for
bit.
"""
