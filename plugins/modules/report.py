#!/usr/bin/python
"""Documentation of the action inference.platform.report; plugins/action/report.py does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: report
short_description: Show what runs
version_added: 0.1.0
description:
  - Looks at the cluster once and writes C(report.json) and C(report.html); the progress callback prints the
    same as text at the end of the run.
  - Writes no file in check mode.
options:
  inventory:
    description: Name of the inventory, for the heading.
    type: str
    required: true
  directory:
    description: Folder for the two files.
    type: path
    required: true
  crd_directory:
    description: Folder that the CRDs came from, which the report mentions. Empty when they came from the lock.
    type: path
  answered:
    description: Models, as C(namespace/name), that passed the smoke test of this run.
    type: list
    elements: str
    default: []
notes:
  - Supports check mode and diff.
extends_documentation_fragment:
  - inference.platform.cluster
  - inference.platform.plan
  - inference.platform.controller
author:
  - The inference platform project (@inference-platform)
"""

EXAMPLES = r"""
- name: Report
  inference.platform.report:
    platform: "{{ platform }}"
    inventory: eks
    directory: build/eks
"""

RETURN = r"""
report:
  description: The report as text.
  returned: success
  type: str
"""
