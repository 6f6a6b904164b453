"""Cards scored by how likely they are in a ring: taught and measured by rings that are planted."""
