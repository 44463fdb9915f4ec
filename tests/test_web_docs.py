"""docs/OPERATIONS.md and docs/SECURITY.md name what there is, and nothing that is not."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from config import Settings
from web.guard import MAX_ADDRESS, MAX_HEADERS

ROOT = Path(__file__).resolve().parent.parent
OPERATIONS = (ROOT / "docs" / "OPERATIONS.md").read_text("utf-8")
SECURITY = (ROOT / "docs" / "SECURITY.md").read_text("utf-8")


def table_of_settings() -> dict[str, str]:
    """Name of each setting of the door -> its row."""
    part = OPERATIONS.partition("## Settings of the door")[2].partition("\n## ")[0]
    rows = [row for row in part.splitlines() if row.startswith("| `")]
    return {
        name.lower(): row for row in rows for name in re.findall(r"`([A-Z_]+)`", row.split("|")[1])
    }


def test_every_setting_of_the_table_exists_with_its_default():
    assert table_of_settings().keys() <= Settings.model_fields.keys()
    for name, row in table_of_settings().items():
        default = Settings.model_fields[name].default
        if isinstance(default, bool):
            assert f"`{str(default).lower()}`" in row, name
        elif isinstance(default, int | float):
            assert f"{default:g}" in row.split("|")[2], name


def test_every_setting_of_the_door_is_in_the_table():
    source = (ROOT / "config.py").read_text("utf-8")
    part = source.partition("# Who may ask the API")[2].partition("\n    # ")[0]
    names = set(re.findall(r"^    (\w+):", part, re.M))
    assert names <= table_of_settings().keys()


def test_every_metric_is_described(service):
    families = text_string_to_metric_families(service().get("/metrics").text)
    ours = {family.name for family in families if family.name.startswith("stock_")}
    told = {
        name.removesuffix("_total")
        for name in re.findall(r"`(stock_\w+)`", OPERATIONS.partition("What can be watched")[2])
    }
    assert ours == told


def test_the_bounds_are_told_as_they_are():
    assert (MAX_ADDRESS, MAX_HEADERS) == (4 * 1024, 16 * 1024)
    assert "| 4 KiB |" in SECURITY and "| 16 KiB |" in SECURITY


def test_every_file_named_as_proof_exists():
    named = set(re.findall(r"`((?:test_|web/)\w+\.py)`", SECURITY))
    assert len(named) >= 8
    for name in named:
        assert (ROOT / ("tests" if name.startswith("test_") else ".") / name).is_file(), name
