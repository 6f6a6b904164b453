"""Several ranks: launch, data parallel with compressed gradients, sharding. No collectives of our own."""
