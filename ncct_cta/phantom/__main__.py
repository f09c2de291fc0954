"""``python -m ncct_cta.phantom``; see ``command.py``."""

from .command import main

main()
