"""What a campaign counts."""

from __future__ import annotations

import gzip
import zlib
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from .forked import Ended

TRACEBACK, HANG, SILENT, LEFTOVER, LOST, STATUS = "traceback", "hang", "silent", "leftover", "lost", "status"
KINDS = (TRACEBACK, HANG, SILENT, LEFTOVER, LOST, STATUS)
# What may stay: a folder's lock and record, and the cache, whose own half-built folders are looked for within it.
ALLOWED = {".lock", ".ncct_cta_cache", ".made_from.json"}
SHOWN = 3
LAST_WORDS = 600


@dataclass
class Findings:
    """What was found so far, by room and kind."""

    runs: Counter[str] = field(default_factory=Counter)
    found: defaultdict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))

    @property
    def count(self) -> int:
        """How much was found."""
        return sum(map(len, self.found.values()))

    def add(self, room: str, kind: str, example: str) -> None:
        """Count a finding and show it; the example says how to make it again."""
        self.found[room, kind].append(example)
        print(f"{kind}: {room}: {example}", flush=True)

    def judge(self, room: str, example: str, ended: Ended) -> None:
        """Count what no command may ever do: a traceback, a hang, processes left running."""
        self.runs[room] += 1
        last = ended.said[-LAST_WORDS:]
        if ended.status is None:
            self.add(room, HANG, f"{example}: {ended.said[-10 * LAST_WORDS :]}")  # every thread's place
        elif ended.has_traceback or ended.status == 1:
            self.add(room, TRACEBACK, f"{example}: {last}")
        if ended.orphans:
            self.add(room, HANG, f"{example}: it left processes running")

    def report(self) -> str:
        """All counts, and the first examples of each."""
        runs = ", ".join(f"{count} {room}" for room, count in sorted(self.runs.items()))
        lines = [f"{sum(self.runs.values())} runs: {runs}"]
        totals = {kind: sum(len(own) for (_, k), own in self.found.items() if k == kind) for kind in KINDS}
        lines.append(", ".join(f"{count} {kind}" for kind, count in totals.items()))
        for (room, kind), examples in sorted(self.found.items()):
            lines.append(f"\n== {room}: {len(examples)} {kind}")
            lines += [f"  * {example}" for example in examples[:SHOWN]]
        return "\n".join(lines)


def leftovers(folder: Path) -> list[str]:
    """Hidden and temporary files below a folder, and packed files that aren't whole."""
    found = []
    for path in folder.rglob("*"):
        name = path.name
        if (name.startswith(".") and name not in ALLOWED) or name.endswith((".tmp", ".partial")):
            found.append(str(path.relative_to(folder)))
        elif name.endswith(".nii.gz") and path.is_file() and not path.is_symlink() and not _is_whole(path):
            found.append(f"{path.relative_to(folder)} (cut)")
    return found


def _is_whole(path: Path) -> bool:
    try:
        with gzip.open(path) as file:
            while file.read(2**20):
                pass
    except (OSError, EOFError, ValueError, zlib.error):
        return False
    return True
