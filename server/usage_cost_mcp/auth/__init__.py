"""Who may ask, what they may see, and what is logged about it."""
