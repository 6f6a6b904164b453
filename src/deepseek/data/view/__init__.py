"""Data as a person looks at it: the data card and its page."""
