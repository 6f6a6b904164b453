"""Generation and untrusted templates in processes of their own."""
