"""A small assistant for tests: a real model of words, a dialogue file, and questions in two languages."""
