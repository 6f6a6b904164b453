"""Calibration, decisions, metrics and tree conversion for models of tables."""
