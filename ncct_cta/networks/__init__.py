"""Pure networks: generator, refinement net and the cascade that joins them."""
