"""Say how many tests of a JUnit file ran and how many were skipped, by reason."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree


def counts(root: ElementTree.Element) -> str:
    """A Markdown list."""
    cases = list(root.iter("testcase"))
    reasons = Counter(skip.get("message", "") for skip in root.iter("skipped"))
    broken = sum(1 for case in cases if case.find("failure") is not None)
    broken += sum(1 for case in cases if case.find("error") is not None)
    lines = [f"- {len(cases) - reasons.total()} ran, {broken} of them failed"]
    lines += [f"- {count} skipped: {reason}" for reason, count in reasons.most_common()]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Print the counts of the file named. Exit 2 if it cannot be read."""
    arguments = sys.argv[1:] if argv is None else argv
    try:
        print(counts(ElementTree.fromstring(Path(arguments[0]).read_text("utf-8"))))
    except (IndexError, OSError, ElementTree.ParseError) as error:
        print(f"count_tests.py: give the JUnit file of a test run ({error})", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
