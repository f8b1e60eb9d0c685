#!/usr/bin/python
"""Documentation of the action inference.platform.models_export; plugins/action/models_export.py does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: models_export
short_description: Write the objects of the models to files
version_added: 0.1.0
description:
  - Writes the objects that M(inference.platform.models) would apply, and the quotas, priorities and node pools of the
    inventory, byte for byte, one file each, with kustomizations that give Argo CD its sync waves.
  - Needs no cluster. The pull secret is not written.
  - Files of an earlier export that are no longer wanted are removed; other files stay.
  - With O(only) just the files of these models are written and removed, and routes that lead to them. The rest of an
    earlier export stays, and stays in the kustomizations.
options:
  directory:
    description: Folder to write to.
    type: path
    required: true
  only:
    description: Names of the models to write, as C(name) or C(namespace/name). Empty takes all.
    type: list
    elements: str
    default: []
notes:
  - Supports check mode.
extends_documentation_fragment:
  - inference.platform.plan
  - inference.platform.plan.rendered
  - inference.platform.plan.move
  - inference.platform.controller
author:
  - The inference platform project (@inference-platform)
"""

EXAMPLES = r"""
- name: Write the models for GitOps
  inference.platform.models_export:
    rendered: "{{ platform_rendered }}"
    platform: "{{ platform }}"
    directory: build/export
"""

RETURN = r"""
directory:
  description: The folder.
  returned: success
  type: str
"""
