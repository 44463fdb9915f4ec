"""What a release promises: one version everywhere, fresh pages, live links, nothing unfinished."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "deploy"))  # its programs import each other, as when they are run

import count_tests  # noqa: E402
import documents  # noqa: E402
import notices  # noqa: E402
import release  # noqa: E402
from model_cards import model_cards  # noqa: E402
from release_notes import disagreements, sections  # noqa: E402

from contracts import VERSION  # noqa: E402

CHANGELOG = """# Changelog

## [Unreleased]

## [1.2.0] - 2026-11-21

### Added

- Something.

## [1.1.0] - 2026-10-01

### Fixed

- Something else.
"""


@pytest.fixture
def project(tmp_path) -> Path:
    """A project that was just released as 1.2.0."""
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "version.py").write_text('VERSION = "1.2.0"\n')
    (tmp_path / "CITATION.cff").write_text('version: 1.2.0\ndate-released: "2026-11-21"\n')
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / "kustomization.yaml").write_text('newTag: "1.2.0"')
    return tmp_path


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_the_project_itself_tells_one_story():
    assert list(disagreements(ROOT, release.tags_here(ROOT))) == []


def test_the_version_stands_in_one_place():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in project["project"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {
        "attr": "contracts.version.VERSION"
    }
    files = [p for p in release.tracked(ROOT) if p.suffix == ".py" and p.parent.name != "tests"]
    assert [p.name for p in files if f'"{VERSION}"' in p.read_text("utf-8")] == ["version.py"]


def test_a_release_in_order_has_no_complaint(project):
    assert list(disagreements(project, ["v1.2.0"])) == []
    assert list(disagreements(project, [])) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("CITATION.cff", "1.2.0", "1.1.0", "CITATION.cff names another version"),
        ("deploy/kustomization.yaml", "1.2.0", "1.1.0", "names another build"),
        ("contracts/version.py", "1.2.0", "1.0.0", "the changelog is at 1.2.0"),
        ("contracts/version.py", "1.2.0", "1.3.0", "the tag is v1.2.0, the software 1.3.0"),
        ("CITATION.cff", "2026-11-21", "2026-11-20", "does not begin with [1.2.0] - 2026-11-20"),
        ("CHANGELOG.md", "## [Unreleased]", "## [Unreleased]\n\n### Added\n\n- X", "still has"),
        ("CHANGELOG.md", "## [Unreleased]\n", "", "does not begin with ## [Unreleased]"),
        ("CHANGELOG.md", "### Fixed", "### Improved", "Improved is none of Added"),
        ("CHANGELOG.md", " - 2026-10-01", " - October", "no date like"),
        ("CHANGELOG.md", "[1.1.0]", "[1.4.0]", "not in order"),
        ("CHANGELOG.md", "### Added\n\n", "", "lines before the first ###"),
    ],
)
def test_whatever_does_not_fit_is_told(project, file, old, new, told):
    change(project / file, old, new)
    assert any(told in complaint for complaint in disagreements(project, ["v1.2.0"]))


def test_work_in_progress_is_no_complaint_where_nothing_is_tagged(project):
    change(project / "CHANGELOG.md", "## [Unreleased]", "## [Unreleased]\n\n### Added\n\n- More.")
    change(project / "contracts" / "version.py", "1.2.0", "1.3.0")
    change(project / "CITATION.cff", "1.2.0", "1.3.0")
    change(project / "deploy" / "kustomization.yaml", "1.2.0", "1.3.0")
    assert list(disagreements(project, [])) == []


def test_sections_are_read_with_their_days():
    rows = [(row.name, row.day) for row in sections(CHANGELOG)]
    assert rows == [("Unreleased", None), ("1.2.0", "2026-11-21"), ("1.1.0", "2026-10-01")]


def test_the_model_cards_are_those_of_the_shipped_bases():
    assert (ROOT / "docs" / "MODEL_CARD.md").read_text("utf-8") == model_cards(ROOT)


def test_the_notices_name_every_library_of_every_lock():
    page = (ROOT / "THIRD_PARTY_NOTICES.md").read_text("utf-8")
    named = set(re.findall(r"^\| ([a-z0-9][\w.\-]*) \|", page, re.M)) - {"library"}
    assert named == set(notices.locked(ROOT))


def test_no_licence_of_a_library_forbids_passing_it_on():
    page = (ROOT / "THIRD_PARTY_NOTICES.md").read_text("utf-8")
    licences = [row.split("|")[3].strip() for row in page.splitlines() if row.startswith("| ")][1:]
    assert not [text for text in licences if re.search(r"proprietary|AGPL|^(GPL)", text, re.I)]


def test_links_of_the_documents_lead_somewhere():
    assert list(documents.broken_links(release.tracked(ROOT))) == []


@pytest.mark.parametrize("target", ["nowhere.md", "#no-such-heading", "there.md#nor-this"])
def test_a_dead_link_is_found(tmp_path, target):
    (tmp_path / "there.md").write_text("# A heading, with a comma\n")
    page = tmp_path / "page.md"
    page.write_text(
        f"[live](there.md#a-heading-with-a-comma) [out](https://example.com) [x]({target})"
    )
    assert list(documents.broken_links([page])) == [f"page.md: ({target}) leads nowhere"]


def test_nothing_unfinished_or_private_is_in_the_files():
    assert list(documents.unwanted_words(release.tracked(ROOT))) == []


@pytest.mark.parametrize("text", ["# {T}ODO: this", "path = '/{h}ome/me'", "{A}KIA" + "A" * 16])
def test_an_unwanted_word_is_found_with_its_line(tmp_path, text):
    written = text.format(T="T", h="h", A="A")  # in pieces, or this file would be found as well
    (tmp_path / "file.py").write_text(f"first\n{written}\n")
    (complaint,) = documents.unwanted_words([tmp_path / "file.py"])
    assert complaint.startswith("file.py:2: ")


def test_counts_of_a_test_run_name_the_reasons_for_skipping(tmp_path, capsys):
    skipped = '<testcase><skipped message="no real prices here"/></testcase>'
    failed = "<testcase><failure/></testcase>"
    (tmp_path / "r.xml").write_text(f"<testsuite><testcase/>{skipped * 2}{failed}</testsuite>")
    assert count_tests.main([str(tmp_path / "r.xml")]) == 0
    said = capsys.readouterr().out
    assert said == "- 2 ran, 1 of them failed\n- 2 skipped: no real prices here\n"


def test_the_tools_that_release_check_calls_are_locked():
    lock = (ROOT / "requirements" / "release.txt").read_text()
    for tool in ("kubernetes-validate", "pip-audit", "zizmor"):
        assert re.search(rf"^{tool}==", lock, re.M)


def test_a_command_given_wrongly_is_told(tmp_path):
    line = [sys.executable, str(ROOT / "deploy" / "count_tests.py"), str(tmp_path / "none.xml")]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 2
    assert "give the JUnit file" in done.stderr


def tool(folder: Path, name: str, says: str, status: int) -> None:
    (folder / name).write_text(f"#!/bin/sh\necho '{says}'\nexit {status}\n")
    (folder / name).chmod(0o755)


def test_what_a_tool_of_others_finds_is_told(tmp_path):
    tool(tmp_path, "zizmor", "unpinned", 14)
    tool(tmp_path, "kubernetes-validate", "fine", 0)
    assert list(release.refused_by(tmp_path, ROOT)) == ["zizmor: unpinned"]


def test_make_calls_the_check_as_it_is_called(capsys):
    with pytest.raises(SystemExit):
        release.main(["--help"])
    flags = set(re.findall(r"--[a-z]+", capsys.readouterr().out))
    (line,) = (
        row for row in (ROOT / "Makefile").read_text().splitlines() if "release.py check" in row
    )
    assert set(re.findall(r"--[a-z]+", line)) <= flags
