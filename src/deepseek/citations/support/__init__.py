"""Whether a clause supports a sentence: scorer.py judges it, and quotes and contradictions; citing.py is the whole way."""
