"""``python -m ncct_cta.train``; see ``command.py``."""

from .command import main

main()
