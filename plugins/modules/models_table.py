#!/usr/bin/python
"""Documentation of the action inference.platform.models_table; plugins/action/models_table.py does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: models_table
short_description: Show all models at a glance
version_added: 0.1.0
description:
  - One row for each model of the inventory and of the cluster, with state, pods, GPUs, shares of traffic, priorities
    and URL. Reads only.
options:
  only:
    description: Names of the models to show, as C(name) or C(namespace/name). Empty takes all.
    type: list
    elements: str
    default: []
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
- name: Show the models
  inference.platform.models_table:
    rendered: "{{ platform_rendered }}"
    platform: "{{ platform }}"
"""

RETURN = r"""
models:
  description: The rows.
  returned: success
  type: list
  elements: dict
"""
