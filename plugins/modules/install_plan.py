#!/usr/bin/python
"""Documentation of the action inference.platform.install_plan; plugins/action/install_plan.py does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: install_plan
short_description: Approve one version of an operator
version_added: 0.1.0
description:
  - Approves the InstallPlan that the Operator Lifecycle Manager wrote for a Subscription, if it installs the wanted
    version and nothing else.
  - Does nothing when that version is installed. Never approves another one, so an operator stays as it is.
  - Fails when another version is installed from which there is no way to the wanted one.
options:
  subscription:
    description: Name of the Subscription.
    type: str
    required: true
  namespace:
    description: Its namespace.
    type: str
    required: true
  csv:
    description: Name of the wanted ClusterServiceVersion.
    type: str
    required: true
  timeout_seconds:
    description: Seconds to wait for the InstallPlan.
    type: int
    default: 300
notes:
  - Supports check mode; it then says whether something would be approved.
extends_documentation_fragment:
  - inference.platform.cluster
  - inference.platform.controller
author:
  - The inference platform project (@inference-platform)
"""

EXAMPLES = r"""
- name: Let OLM install this version of cert-manager
  inference.platform.install_plan:
    subscription: openshift-cert-manager-operator
    namespace: cert-manager-operator
    csv: cert-manager-operator.v1.18.1
"""

RETURN = ""
