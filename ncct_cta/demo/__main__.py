"""``python -m ncct_cta.demo``; see ``command.py``."""

from .command import main

main()
