"""Where the real CT scans lie that some tests use and the repository doesn't hold; those tests skip without them."""

from __future__ import annotations

import os
from pathlib import Path

SHARED = Path(os.environ.get("NCCT_CTA_SHARED", Path(__file__).resolve().parents[2] / "shared"))
SHARED_DATA = SHARED / "data"
