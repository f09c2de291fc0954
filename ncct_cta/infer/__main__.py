"""``python -m ncct_cta.infer``; see ``command.py``."""

from .command import main

main()
