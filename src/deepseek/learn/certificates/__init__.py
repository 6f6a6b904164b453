"""Certificates: Open Badges 3.0, signed by an issuer's Ed25519 key, verified on any machine without a network."""
