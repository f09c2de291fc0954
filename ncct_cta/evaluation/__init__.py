"""Scores of saved predictions, their statistics, and the report."""
