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

GENERATIONS = ((SHORT, FROM_FILE), (LONG, FROM_YAHOO))


def write(shelf: Shelf, generation: int) -> None:
    with shelf.locked("AAPL"):
        shelf.put("AAPL", *GENERATIONS[generation % 2])


def time_of_one(shelf: Shelf) -> float:
    """Seconds, the longest of four: a busy machine writes slowly."""
    times = []
    for generation in range(4):
        begun = time.perf_counter()
        write(shelf, generation)
        times.append(time.perf_counter() - begun)
    return max(times)


def killed_after(shelf: Shelf, writes: int, seconds: float) -> None:
    """A writer of its own process, ended `seconds` after so many whole writes, without any
    chance to tidy up. Counting writes, not time alone, keeps both generations within reach
    however slowly a busy machine lets the writer run."""
    told, tell = os.pipe()
    writer = os.fork()
    if writer == 0:
        for generation in range(10**6):
            os.write(tell, b"!")
            write(shelf, generation)
    for _ in range(writes + 1):
        os.read(told, 1)
    time.sleep(seconds)
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    os.close(told)
    os.close(tell)


def main(folder: str, kills: int) -> None:
    """Count which generation was found after each kill, and everything that fits neither."""
    shelf, moments = Shelf(Path(folder), "raw", adopts="file"), random.Random(20261121)
    generations = {
        to_csv_bytes(SHORT): ("short", FROM_FILE),
        to_csv_bytes(LONG): ("long", FROM_YAHOO),
    }
    seen = {"kills": kills, "short": 0, "long": 0, "in the midst": 0, "wrong": []}
    longest = time_of_one(shelf)
    for attempt in range(kills):
        killed_after(shelf, attempt % 4, moments.uniform(0, longest))
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
