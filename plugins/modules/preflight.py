#!/usr/bin/python
"""Documentation of the action inference.platform.preflight; plugins/action/preflight.py does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Look whether the cluster can take the platform
version_added: 0.1.0
description:
  - Reads versions, rights, nodes, CRDs, webhooks, policies, quotas and what is installed in the cluster, and looks for
    the helm program of this machine. Writes nothing to the cluster.
  - Decides who owns each dependency, and resolves the plan again where the inventory says auto.
  - Fails with everything that stands in the way, such as a cert-manager of somebody else or a model whose GPUs no
    node has, or one whose Secret does not exist. docs/reference/preflight.md lists the checks.
  - Says which cluster, which layers in which order, and who owns what.
options:
  settings:
    description: The settings of the inventory, as returned by M(inference.platform.plan).
    type: dict
    required: true
  rendered:
    description:
      - File with the rendered models, as returned by M(inference.platform.plan) in the same run. The nodes must have
        the GPUs they ask for.
    type: path
    required: true
  directory:
    description: Folder for preflight.json. Not written in check mode.
    type: path
    required: true
  helm:
    description: The helm program. Empty takes the one on PATH.
    type: path
  crd_mirror:
    description: As O(inference.platform.crds#module:mirror).
    type: str
  crd_cache:
    description: As O(inference.platform.crds#module:cache).
    type: path
  chart_mirror:
    description: As O(inference.platform.release#module:chart_mirror).
    type: str
  chart_cache:
    description: As O(inference.platform.release#module:chart_cache).
    type: path
  inventories:
    description: Folders or files of the inventory, for file and line in messages. Default is what was given with C(-i).
    type: list
    elements: path
  every_check:
    description:
      - Whether to show every check, not only those that are not ok, and to try admission although everything that the
        plan lays is there.
    type: bool
    default: false
  layers:
    description:
      - Names of the layers that the run lays. The user's rights are asked for these, and admission is tried only while
        one of them is to be laid. Default is all layers.
    type: list
    elements: str
  installs:
    description:
      - Whether the run brings the platform before it applies the models. Without, what models need of the platform
        must be there, such as the gateway and the webhook of KServe.
    type: bool
    default: true
notes:
  - Supports check mode and diff.
extends_documentation_fragment:
  - inference.platform.cluster
  - inference.platform.controller
author:
  - The inference platform project (@inference-platform)
"""

EXAMPLES = r"""
- name: Check the cluster
  inference.platform.preflight:
    settings: "{{ platform_settings }}"
    rendered: "{{ platform_rendered }}"
    directory: build/mine
"""

RETURN = r"""
platform:
  description: The plan as plain data, resolved for what the cluster has.
  returned: success
  type: dict
rendered:
  description: File with the rendered models. Those that an earlier release made are written for that release.
  returned: success
  type: path
"""
