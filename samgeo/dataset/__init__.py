"""Objects against the truth."""
