"""Hidden states of cards and terminals: learned from verdicts, and followed over a whole table.

hidden = estimate_states(definition, events, card="card", terminal="terminal")    # estimate.py; runs.py by days
definition = with_states(definition, hidden)                                      # numbers in the definition's text
columns = compute_offline(definition, events)                                     # by offline.py, with all others
"""
