"""OpenAI's routes: bodies, answers, streams, and the models that write."""
