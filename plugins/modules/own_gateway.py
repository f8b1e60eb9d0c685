#!/usr/bin/python
"""Documentation of the action inference.platform.own_gateway; plugins/action/own_gateway.py does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: own_gateway
short_description: Supply a Gateway of the user's with bundle and pull secret
version_added: 0.1.0
description:
  - Keeps the bundle of authorities (ConfigMap C(rhai-ca-bundle)) in the namespace of the Gateway, and the pull secret
    if the platform's Istio makes its proxies. While the authority changes, the bundle has the old one too.
  - Objects of these names that somebody else made are left as they are. A warning says what they lack.
  - Does nothing as long as the Gateway is not there.
options:
  gateway:
    description: The gateway of the plan.
    type: dict
    required: true
  authority:
    description: C(namespace) and name (C(secret)) of the Secret with the platform's authority.
    type: dict
    required: true
  pull_secret:
    description: Name of the pull secret. Without it none is made.
    type: str
  file:
    description: File with its content, in the form of Docker's config.json.
    type: path
  from_secret:
    description:
      - C(namespace) and C(name) of a Secret with its content.
      - Without it and O(file) the content is in E(DOCKER_AUTH_CONFIG).
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
- name: Give the pods of your own Gateway what they need
  inference.platform.own_gateway:
    gateway: "{{ platform.gateway }}"
    authority: {namespace: cert-manager, secret: rhai-ca}
    pull_secret: rhai-pull-secret
    file: ~/pull-secret.json
"""

RETURN = ""
