#!/usr/bin/python
"""Documentation of the action inference.platform.models_export; plugins/action/models_export.py does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: models_export
short_description: Write the objects of the models to files
version_added: 0.1.0
description:
  - Writes the objects that M(inference.platform.models) would apply, byte for byte, one file each, with
    kustomizations that give Argo CD its sync waves.
  - Needs no cluster. The pull secret is not written.
  - Files of an earlier export that are no longer wanted are removed; other files stay.
options:
  rendered:
    description: File with the rendered models, as returned by M(inference.platform.plan) in the same run.
    type: path
    required: true
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
  - Runs on the controller; the Python package C(inference_platform) must be installed there.
  - Supports check mode.
author:
  - The inference platform project (@inference-platform)
"""

EXAMPLES = r"""
- name: Write the models for GitOps
  inference.platform.models_export:
    rendered: "{{ platform_rendered }}"
    directory: build/export
"""

RETURN = r"""
directory:
  description: The folder.
  returned: success
  type: str
"""
