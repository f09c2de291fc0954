"""Ignite engines: what happens in one iteration."""
