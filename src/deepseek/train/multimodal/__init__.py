"""Nets of several modalities: alignment before, training together on ranks, the weight of each modality after."""
