"""Whether a clause supports a sentence: scores, contradictions, quotes; citing.py is the whole way."""
