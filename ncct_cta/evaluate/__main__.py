"""``python -m ncct_cta.evaluate``; see ``command.py``."""

from .command import main

main()
