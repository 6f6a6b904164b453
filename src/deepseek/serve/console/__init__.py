"""The pages of a server: the console at /, /docs, and what they show."""
