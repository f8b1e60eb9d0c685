#!/usr/bin/python
"""Documentation of the action inference.platform.gate; plugins/action/gate.py does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gate
short_description: Wait until checks hold
version_added: 0.1.0
description:
  - Waits for all checks together and shows what it waits for.
  - A gate that times out says what it waited for, the conditions last seen, restarts, warning events, and the
    command to look further.
  - In check mode it looks once and never fails.
options:
  title:
    description: What the gate belongs to, for messages.
    type: str
    default: ""
  checks:
    description: Checks as in C(catalog/gates.yml), resolved.
    type: list
    elements: dict
    required: true
  timeout_seconds:
    description: Seconds after which the run fails.
    type: int
    default: 300
notes:
  - Supports check mode and diff.
extends_documentation_fragment:
  - inference.platform.cluster
  - inference.platform.controller
author:
  - The inference platform project (@inference-platform)
"""

EXAMPLES = r"""
- name: Wait for istiod
  inference.platform.gate:
    checks:
      - check: deployment
        namespace: istio-system
        name: istiod
    timeout_seconds: 120
"""

RETURN = r"""
waiting:
  description: Checks that do not hold, in words. Only in check mode can it hold any.
  returned: success
  type: list
  elements: str
"""
