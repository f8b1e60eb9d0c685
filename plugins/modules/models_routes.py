#!/usr/bin/python
"""Documentation of the action inference.platform.models_routes; plugins/action/models_routes.py does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: models_routes
short_description: Wait until routes lead to their models
version_added: 0.1.0
description:
  - Looks at the HTTPRoutes of traffic groups and of C(model_routes), which no model's readiness speaks of. Their
    gateways must exist and take them, and their backends must exist, be granted, and have the port.
  - Routes that KServe makes for models are part of M(inference.platform.models_ready).
  - In check mode it looks once and never fails.
options:
  limit:
    description: These routes alone, as C(namespace/name). Default is all of them.
    type: list
    elements: str
  patience_seconds:
    description: Seconds after which the run fails, with an explanation for each route that leads nowhere.
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
- name: Wait until the routes lead to the models
  inference.platform.models_routes:
    rendered: "{{ platform_rendered }}"
    platform: "{{ platform }}"
"""

RETURN = r"""
problems:
  description: What is wrong, in words. Only in check mode can it hold anything.
  returned: success
  type: list
  elements: str
"""
