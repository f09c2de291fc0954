"""A run's folder: its names and formats, and a trained model rebuilt from it."""
