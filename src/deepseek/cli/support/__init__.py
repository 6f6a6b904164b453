"""What verbs share: options, opening models, progress, output."""
