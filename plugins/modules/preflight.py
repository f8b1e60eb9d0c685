#!/usr/bin/python
"""Documentation of the action inference.platform.preflight; plugins/action/preflight.py does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Look whether the cluster can take the platform
version_added: 0.1.0
description:
  - Reads version, rights, nodes and pods of the cluster, and the helm program of this machine; writes nothing.
  - Fails with everything that stands in the way, such as a model whose GPUs no node has.
  - Says which cluster, which layers in which order, and who owns what.
options:
  kubeconfig:
    description: Path of the kubeconfig. Empty takes E(KUBECONFIG) or the default of kubectl.
    type: path
  context:
    description: Context of the kubeconfig. Empty takes its current context.
    type: str
  platform:
    description: The plan, as returned by M(inference.platform.plan).
    type: dict
    required: true
  rendered:
    description:
      - File with the rendered models, as returned by M(inference.platform.plan) in the same run. The nodes must have
        the GPUs they ask for.
    type: path
    required: true
  helm:
    description: The helm program. Empty takes the one on PATH.
    type: path
  inventories:
    description: Folders or files of the inventory, for file and line in messages. Default is what was given with C(-i).
    type: list
    elements: path
notes:
  - Runs on the controller; the Python package C(inference_platform) must be installed there.
  - Supports check mode and diff.
author:
  - The inference platform project (@inference-platform)
"""

EXAMPLES = r"""
- name: Check the cluster
  inference.platform.preflight:
    platform: "{{ platform }}"
    rendered: "{{ platform_rendered }}"
"""

RETURN = ""
