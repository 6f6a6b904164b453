"""A fixed list of sentences that every contract is checked against."""
