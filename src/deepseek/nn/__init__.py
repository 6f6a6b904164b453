"""Models as plain arrays: what is stored in a bundle, and slow readable forward passes that tests hold engines to."""
