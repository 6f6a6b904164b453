"""Law texts into clauses with ids that stay, drafts into sentences."""
