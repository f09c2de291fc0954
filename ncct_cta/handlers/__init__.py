"""Ignite handlers: what happens around the iterations."""
