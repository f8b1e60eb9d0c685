#!/usr/bin/python
"""Documentation of the action inference.platform.pull_secret; plugins/action/pull_secret.py does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pull_secret
short_description: Copy the pull secret into namespaces
version_added: 0.1.0
description:
  - Reads the credentials itself, so that they are in no argument, fact, diff or message.
options:
  name:
    description: Name of the Secret.
    type: str
    required: true
  namespaces:
    description: Namespaces that get it.
    type: list
    elements: str
    required: true
  file:
    description: File in the form of Docker's config.json. Empty takes O(from_secret).
    type: path
  from_secret:
    description:
      - Secret of type kubernetes.io/dockerconfigjson that has the credentials, with C(namespace) and C(name).
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
- name: Copy the pull secret
  inference.platform.pull_secret:
    name: rhai-pull-secret
    namespaces: [istio-system, redhat-ods-operator]
    file: ~/pull-secret.json
"""

RETURN = ""
