"""Documents: links that lead nowhere, and words that do not belong into a release."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

LINK = re.compile(r"!?\[[^\]]*\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.M | re.S)
TEXTS = {".md", ".py", ".yml", ".yaml", ".toml", ".cfg", ".cff", ".sql", ".json", ".in", ".ini"}
# A letter in brackets, or this file would complain about itself.
UNWANTED = {
    "an unfinished place": r"\b(TO[D]O|FIX[M]E|XX[X]|HA[C]K)\b",
    "a place on one machine": r"(?<![\w.])/(home|Users|root|work)/\w+",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE [K]EY-----",
    "a key of a cloud": r"\bAKI[A][0-9A-Z]{16}\b",
    "a host nobody else can reach": r"https?://[\w.-]+\.(internal|intranet|corp|lan)\b",
}


def broken_links(files: Sequence[Path]) -> Iterator[str]:
    """Relative links of Markdown files to files or headings that are not there."""
    for page in (path for path in files if path.suffix == ".md"):
        text = FENCE.sub("", page.read_text("utf-8"))
        for target in LINK.findall(text):
            if not re.match(r"[a-z][a-z0-9+.-]*:", target) and not _leads_somewhere(page, target):
                yield f"{page.name}: ({target}) leads nowhere"


def _leads_somewhere(page: Path, target: str) -> bool:
    name, _, anchor = unquote(target).partition("#")
    place = (page.parent / name).resolve() if name else page
    if not place.exists() or not anchor:
        return place.exists()
    return place.suffix != ".md" or anchor in headings(place.read_text("utf-8"))


def headings(text: str) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    lines = re.findall(r"^#{1,6} (.+)$", FENCE.sub("", text), re.M)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


def unwanted_words(files: Sequence[Path]) -> Iterator[str]:
    """Places in text files that a reader of a release has no use for."""
    for path in (path for path in files if path.suffix in TEXTS):
        text = path.read_text("utf-8")
        for what, pattern in UNWANTED.items():
            for match in re.finditer(pattern, text):
                line = text.count("\n", 0, match.start()) + 1
                yield f"{path.name}:{line}: {what}: {match[0]}"
