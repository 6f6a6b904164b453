"""Whether a clause supports a sentence, with a quote: scorer.py judges it, citing.py is the whole way."""
