#!/usr/bin/python
"""Documentation of the action inference.platform.resources; plugins/action/resources.py does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: resources
short_description: Apply objects
version_added: 0.1.0
description:
  - Lists once, compares, and applies what differs with server-side apply, several at a time.
  - Fields of other managers are not touched unless O(force) is set.
options:
  objects:
    description: Kubernetes objects.
    type: list
    elements: dict
    required: true
  force:
    description: Take over fields that another manager owns with another value.
    type: bool
    default: false
  prune:
    description:
      - Objects to delete when they are not among O(objects), of those that this installer applied, by C(selector) (of
        labels) and C(kinds) (each with C(api_version) and C(kind)). Empty deletes nothing.
    type: dict
  gateway:
    description:
      - The gateway of the plan. Namespaces among O(objects) keep the labels by which it admits their routes now, until
        it selects by others.
    type: dict
notes:
  - Supports check mode and diff.
extends_documentation_fragment:
  - inference.platform.cluster
  - inference.platform.controller
author:
  - The inference platform project (@inference-platform)
"""

EXAMPLES = r"""
- name: Ask the operator for cert-manager
  inference.platform.resources:
    objects:
      - apiVersion: operator.openshift.io/v1alpha1
        kind: CertManager
        metadata:
          name: cluster
        spec:
          managementState: Managed
"""

RETURN = ""
