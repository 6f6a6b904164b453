"""Which clauses may be meant: BM25 and embedders."""
