"""Training of detectors of defects: which place answers for which box, losses, pictures changed by chance, the loop
under a budget of CPU time, figures, and the threshold that bounds missed defects."""
