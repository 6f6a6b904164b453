"""What docs/make_pictures.py takes pictures of: bundles, servers and pages made from data that comes along."""
