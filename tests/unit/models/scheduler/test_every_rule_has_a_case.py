"""No rule about schedulers without a test that provokes it."""

from __future__ import annotations

import re
from pathlib import Path

import inference_platform.models.scheduler as package

_CODE = re.compile(r"IP-SCH-[0-9]{3}")


def test_every_code_is_provoked() -> None:
    sources = Path(package.__file__).parent.glob("*.py")
    raised = {code for path in sources for code in re.findall(r'"(IP-SCH-[0-9]{3})"', path.read_text())}
    tested = {code for path in Path(__file__).parent.glob("test_*.py") for code in _CODE.findall(path.read_text())}
    assert raised
    assert raised <= tested
