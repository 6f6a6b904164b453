"""Sample sets that are larger than memory: shards, the order of a pass, a cache of decoded samples."""
