#!/usr/bin/python
"""Documentation of the action inference.platform.models_ready; plugins/action/models_ready.py does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: models_ready
short_description: Wait until models are ready
version_added: 0.1.0
description:
  - Follows all models by one watch, and shows how many are ready, which one is the slowest, and why.
  - A model that is marked as stopped is waited for until it has stopped.
  - In check mode it looks once and never fails.
options:
  only:
    description: Names of the models to wait for, as C(name) or C(namespace/name). Empty takes all.
    type: list
    elements: str
    default: []
  without:
    description: Models to leave out, as C(namespace/name).
    type: list
    elements: str
    default: []
  timeout_seconds:
    description: Seconds after which the run fails, with an explanation for each model that is not ready.
    type: int
    default: 1800
  patience_seconds:
    description: Seconds after which the run fails when each model that is left needs somebody to change something, such
      as a route that its gateway does not admit.
    type: float
    default: 30.0
notes:
  - Supports check mode.
extends_documentation_fragment:
  - inference.platform.cluster
  - inference.platform.plan
  - inference.platform.plan.rendered
  - inference.platform.controller
author:
  - The inference platform project (@inference-platform)
"""

EXAMPLES = r"""
- name: Wait until the models are ready
  inference.platform.models_ready:
    rendered: "{{ platform_rendered }}"
    platform: "{{ platform }}"
    timeout_seconds: 600
"""

RETURN = r"""
seconds:
  description: Seconds until each model was ready, by C(namespace/name).
  returned: success
  type: dict
waiting:
  description: Models that are not ready, in words. Only in check mode can it hold any.
  returned: success
  type: list
  elements: str
"""
