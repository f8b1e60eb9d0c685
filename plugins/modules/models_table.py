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
  kubeconfig:
    description: Path of the kubeconfig. Empty takes E(KUBECONFIG) or the default of kubectl.
    type: path
  context:
    description: Context of the kubeconfig. Empty takes its current context.
    type: str
  rendered:
    description: File with the rendered models, as returned by M(inference.platform.plan) in the same run.
    type: path
    required: true
  platform:
    description: The plan, as returned by M(inference.platform.plan).
    type: dict
    required: true
  only:
    description: Names of the models to show, as C(name) or C(namespace/name). Empty takes all.
    type: list
    elements: str
    default: []
notes:
  - Runs on the controller; the Python package C(inference_platform) must be installed there.
  - Supports check mode.
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
