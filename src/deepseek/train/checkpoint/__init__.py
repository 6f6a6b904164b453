"""Checkpoints: state as JSON and tensors, never a pickle, whole or not there."""
