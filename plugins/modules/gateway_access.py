#!/usr/bin/python
"""Documentation of the action inference.platform.gateway_access; plugins/action/gateway_access.py does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_access
short_description: Label namespaces of models for the gateway
version_added: 0.1.0
description:
  - Before the gateway selects namespaces by other labels, those with models get them beside the ones they have. The
    models' step takes the old ones away. So no route is detached in between.
  - Does nothing when the gateway selects by the labels of the plan already, or is one of the user's.
options:
  gateway:
    description: The gateway of the plan.
    type: dict
    required: true
notes:
  - Supports check mode and diff.
extends_documentation_fragment:
  - inference.platform.cluster
  - inference.platform.controller
author:
  - The inference platform project (@inference-platform)
"""

EXAMPLES = r"""
- name: Label the namespaces of models before the gateway selects by other labels
  inference.platform.gateway_access:
    gateway: "{{ platform.gateway }}"
"""

RETURN = ""
