"""Typed columns -> features: the kind of each column, one modality for each family of kinds, fitted once on training
rows."""
