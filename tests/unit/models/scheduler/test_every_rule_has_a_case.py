"""No rule about schedulers without a test that provokes it."""

from __future__ import annotations

import re
from pathlib import Path

import inference_platform.models.scheduler as package
from inference_platform.models.scheduler.codes import CODES

_CODE = re.compile(r"IP-SCH-[0-9]{3}")


def test_every_code_is_provoked() -> None:
    tested = {code for path in Path(__file__).parent.glob("test_*.py") for code in _CODE.findall(path.read_text())}
    assert set(CODES) <= tested


def test_every_code_is_listed() -> None:
    sources = [path for path in Path(package.__file__).parent.glob("*.py") if path.name != "codes.py"]
    raised = {code for path in sources for code in re.findall(r'"(IP-SCH-[0-9]{3})"', path.read_text())}
    assert raised == set(CODES)
    assert list(CODES) == sorted(CODES)
