#!/usr/bin/python
"""Documentation of the action inference.platform.models_capacity; plugins/action/models_capacity.py does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: models_capacity
short_description: Say where models have room
version_added: 0.1.0
description:
  - For each model the memory of one GPU that weights and KV cache take, as far as its size is known; the nodes on which
    its pods would go; and the machines of the provider that would take all models if no node had GPUs yet. Reads only.
  - docs/capacity.md has the formulas and their sources.
options:
  instance_types:
    description: Machines beside those that the catalogue has for the provider, as in the inventory.
    type: list
    elements: dict
    default: []
  live:
    description: Whether to look at the nodes and pods of the cluster. Without, no cluster is needed.
    type: bool
    default: true
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
- name: Show where the models have room
  inference.platform.models_capacity:
    rendered: "{{ platform_rendered }}"
    platform: "{{ platform }}"
"""

RETURN = r"""
msg:
  description: The text.
  returned: success
  type: str
"""
