"""``python -m ncct_cta.prepare``; see ``command.py``."""

from .command import main

main()
