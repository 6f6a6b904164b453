"""Which rows train, which validate and which test, and what leaks between them."""
