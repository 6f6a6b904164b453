"""Citations as JSON with a schema and as a page to sign."""
