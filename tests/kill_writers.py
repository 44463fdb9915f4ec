"""Kills real writers of one cache file at random moments and looks at what each one leaves.

Run by test_prices_cache: `python kill_writers.py FOLDER KILLS`; prints a JSON object of counts.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from test_prices_cache import FROM_FILE, FROM_YAHOO, LONG, SHORT

from prices.cache import Shelf
from prices.formats import to_csv_bytes


def write_both(shelf: Shelf) -> None:
    with shelf.locked("AAPL"):
        shelf.put("AAPL", SHORT, FROM_FILE)
        shelf.put("AAPL", LONG, FROM_YAHOO)


def time_of_both(shelf: Shelf) -> float:
    """Seconds, the longest of three: a busy machine writes slowly."""
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        write_both(shelf)
        times.append(time.perf_counter() - begun)
    return max(times)


def killed_after(shelf: Shelf, seconds: float) -> None:
    """A writer of its own process, ended in the midst without any chance to tidy up."""
    ready, begun = os.pipe()
    writer = os.fork()
    if writer == 0:
        os.write(begun, b"!")
        while True:
            write_both(shelf)
    os.read(ready, 1)
    time.sleep(seconds)
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    os.close(ready)
    os.close(begun)


def main(folder: str, kills: int) -> None:
    """Count which generation was found after each kill, and everything that fits neither."""
    shelf, moments = Shelf(Path(folder), "raw", adopts="file"), random.Random(20261121)
    generations = {
        to_csv_bytes(SHORT): ("short", FROM_FILE),
        to_csv_bytes(LONG): ("long", FROM_YAHOO),
    }
    seen = {"kills": kills, "short": 0, "long": 0, "in the midst": 0, "wrong": []}
    longest = 2 * time_of_both(shelf)
    for attempt in range(kills):
        killed_after(shelf, moments.uniform(0, longest))
        stored, sidecar = shelf.get("AAPL"), json.loads(shelf.sidecar_path("AAPL").read_bytes())
        name, label = generations.get(stored.data, ("neither", None))
        if stored.label != label or shelf.csv_path("AAPL").read_bytes() != stored.data:
            seen["wrong"].append(f"kill {attempt}: {name} bars labelled {stored.label}")
            continue
        seen[name] += 1
        half_way = sidecar["sha256"] != stored.provenance().sha256
        seen["in the midst"] += half_way or bool(list(shelf.folder.glob(".*.new")))
    print(json.dumps(seen))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
