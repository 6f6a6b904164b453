"""From data to a bundle that carries its evidence: search, blend, ship."""
