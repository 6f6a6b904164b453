"""A plugin to begin from: which class's mean a row is nearer to, and which requests were slow."""
