#!/usr/bin/python
"""Documentation of the action inference.platform.models; plugins/action/models.py does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: models
short_description: Apply the models of the inventory
version_added: 0.1.0
description:
  - Checks and renders all models, then applies what differs in one batch, with the namespaces and pull
    secrets they need.
  - Does not wait; RV(checks) is what M(inference.platform.gate) needs to wait for them.
options:
  kubeconfig:
    description: Path of the kubeconfig. Empty takes E(KUBECONFIG) or the default of kubectl.
    type: path
  context:
    description: Context of the kubeconfig. Empty takes its current context.
    type: str
  models:
    description: Models of the inventory.
    type: list
    elements: dict
    required: true
  model_defaults:
    description: What every model takes unless its entry says otherwise.
    type: dict
    default: {}
  platform:
    description: The plan, as returned by M(inference.platform.plan).
    type: dict
    required: true
  pull_secret_file:
    description: File in the form of Docker's config.json, for the namespaces of the models.
    type: path
    required: true
  prune:
    description: Remove models that this installer applied and that are not in O(models).
    type: bool
    default: true
notes:
  - Runs on the controller; the Python package C(inference_platform) must be installed there.
  - Supports check mode and diff.
author:
  - The inference platform project (@inference-platform)
"""

EXAMPLES = r"""
- name: Apply the models
  inference.platform.models:
    models:
      - name: qwen-basic
        namespace: models
        uri: hf://Qwen/Qwen2.5-0.5B-Instruct
        gpu:
          count: 1
    platform: "{{ platform }}"
    pull_secret_file: ~/pull-secret.json
"""

RETURN = r"""
checks:
  description: Gate checks that hold when the models are ready.
  returned: success
  type: list
  elements: dict
"""
