#!/usr/bin/python
"""Documentation of the action inference.platform.plan; plugins/action/plan.py does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: plan
short_description: Check the inventory and resolve the plan of the platform
version_added: 0.1.0
description:
  - Checks every variable of the inventory against the schemas, the catalogue and the argument specs of the
    roles, and every model against its rules. The models are rendered on the way.
  - Fails with all mistakes at once, each with file and line, what was expected, what was found, and what to do.
  - Needs no cluster, unless the variable C(provider) is V(auto): then the nodes of the cluster are asked.
options:
  inventories:
    description: Folders or files of the inventory, for file and line in messages. Default is what was given with C(-i).
    type: list
    elements: path
  only:
    description: Names of models, as name or namespace/name. It is a mistake when the inventory has no such model.
    type: list
    elements: str
    default: []
  tags_known:
    description:
      - Tags that the playbook has. Then C(--tags) and C(--skip-tags) are compared with them, which Ansible does not do.
        One that is nearly a tag is a mistake, another unknown one a warning. With C(layers) among them the name of each
        layer of the catalogue is a tag too.
    type: list
    elements: str
    default: []
  writes:
    description: Whether the run may write to a cluster. Without, a pull secret that is not there is a warning.
    type: bool
    default: true
notes:
  - Supports check mode and diff.
extends_documentation_fragment:
  - inference.platform.controller
author:
  - The inference platform project (@inference-platform)
"""

EXAMPLES = r"""
- name: Check the inventory
  inference.platform.plan:
  register: result
"""

RETURN = r"""
settings:
  description:
    - Every variable of the inventory schema with its value or default, templates resolved. Those from which the models
      are rendered are left out.
  returned: success
  type: dict
rendered:
  description: File with the rendered models for the other actions. It goes with the run.
  returned: success
  type: str
platform:
  description: The plan as plain data, among others the layers in order, images by digest, CRD files and gates.
  returned: success
  type: dict
"""
