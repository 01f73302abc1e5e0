"""Options, texts, verdicts and results are the same as when the files in this folder were recorded (see
record.py)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from record import HERE, RECORDS  # noqa: E402


@pytest.mark.parametrize("name", RECORDS)
def test_the_behaviour_is_the_recorded_one(name):
    recorded = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
    assert json.loads(json.dumps(RECORDS[name]())) == recorded
