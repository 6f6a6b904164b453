"""Training: candidates behind one protocol, the loop for torch modules, calibration, thresholds, figures."""
