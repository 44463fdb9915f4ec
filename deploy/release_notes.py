"""Version, changelog, citation and tag: whether they tell one story."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

KINDS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")  # keepachangelog.com
HEADING = re.compile(r"^## \[(?P<name>[^\]]+)\](?: - (?P<day>\S+))?\s*$", re.M)


@dataclass(frozen=True)
class Section:
    """One version of the changelog; `day` is None for what is not released."""

    name: str
    day: str | None
    text: str


def sections(changelog: str) -> list[Section]:
    """The changelog's sections, the newest first."""
    found = list(HEADING.finditer(changelog))
    ends = [*(match.start() for match in found[1:]), len(changelog)]
    return [
        Section(match["name"], match["day"], changelog[match.end() : end].strip())
        for match, end in zip(found, ends, strict=True)
    ]


def number(version: str) -> tuple[int, ...]:
    """`1.2.3` as something to compare.

    Raises:
        ValueError: it is no such thing.
    """
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise ValueError(f"{version} is no version of three numbers")
    return tuple(map(int, version.split(".")))


def disagreements(root: Path, tags: list[str]) -> Iterator[str]:
    """What does not fit together; `tags` are those of the commit that is checked out."""
    version = _field(root / "contracts" / "version.py", r'^VERSION = "(.+)"$')
    citation = root / "CITATION.cff"
    rows = sections((root / "CHANGELOG.md").read_text("utf-8"))
    if _field(citation, r"^version: (.+)$") != version:
        yield f"CITATION.cff names another version than {version}"
    charts = root / "deploy" / "kustomization.yaml"
    builds = re.findall(r'newTag: "(.+?)"', charts.read_text("utf-8")) if charts.exists() else []
    if set(builds) - {version}:
        yield f"deploy/kustomization.yaml names another build than {version}"
    yield from malformed(rows)
    released = [row for row in rows if row.day]
    if released and number(version) < number(released[0].name):
        yield f"the changelog is at {released[0].name}, the software at {version}"
    if marks := [tag for tag in tags if tag.startswith("v")]:
        yield from _against_tag(marks, version, rows, _field(citation, r'^date-released: "(.+)"$'))


def malformed(rows: list[Section]) -> Iterator[str]:
    """Where the changelog is not in the form of keepachangelog.com."""
    if not rows or rows[0].name != "Unreleased" or rows[0].day:
        yield "CHANGELOG.md does not begin with ## [Unreleased]"
        return
    for row in rows:
        kinds = re.findall(r"^### (.+)$", row.text, re.M)
        if strange := [kind for kind in kinds if kind not in KINDS]:
            yield f"CHANGELOG.md [{row.name}]: {', '.join(strange)} is none of {', '.join(KINDS)}"
        if row.text and not row.text.startswith("### "):
            yield f"CHANGELOG.md [{row.name}]: lines before the first ###"
    numbers = [number(row.name) for row in rows[1:]]
    if numbers != sorted(set(numbers), reverse=True):
        yield "CHANGELOG.md: versions are not in order, the newest first"
    for row in rows[1:]:
        if not row.day or not _is_date(row.day):
            yield f"CHANGELOG.md [{row.name}]: no date like 2026-11-21"


def _against_tag(marks: list[str], version: str, rows: list[Section], day: str) -> Iterator[str]:
    """A tagged commit is a release: everything in it must be of that version."""
    if marks != [f"v{version}"]:
        yield f"the tag is {', '.join(marks)}, the software {version}"
    if rows and rows[0].text:
        yield "CHANGELOG.md still has something under [Unreleased]"
    if [(row.name, row.day) for row in rows[1:2]] != [(version, day)]:
        yield f"CHANGELOG.md does not begin with [{version}] - {day}, the date in CITATION.cff"


def _is_date(text: str) -> bool:
    try:
        return str(date.fromisoformat(text)) == text
    except ValueError:
        return False


def _field(path: Path, pattern: str) -> str:
    found = re.search(pattern, path.read_text("utf-8"), re.M)
    if not found:
        raise LookupError(f"{path.name}: no line like {pattern}")
    return found[1]
