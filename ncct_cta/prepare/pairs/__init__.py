"""``prepare pairs``: alignment, quality control, masks and the case list."""
