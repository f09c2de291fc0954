"""``prepare scan``: what a folder holds, and which scans could make pairs."""
