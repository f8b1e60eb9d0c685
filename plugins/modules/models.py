#!/usr/bin/python
"""Documentation of the action inference.platform.models; plugins/action/models.py does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: models
short_description: Apply the models of the inventory
version_added: 0.1.0
description:
  - Applies what differs of all models in one batch, with the namespaces and pull secrets they need, and removes models
    that are no longer listed.
  - What cannot be changed on a model that exists is refused before anything is written.
  - A model that fails does not stop the others; the task fails at its end, with every error.
  - Does not wait; M(inference.platform.models_ready) does.
options:
  pull_secret_file:
    description:
      - File in the form of Docker's config.json, for the namespaces of the models. Empty takes O(pull_secret_from).
    type: path
  pull_secret_from:
    description:
      - Secret of type kubernetes.io/dockerconfigjson that has the credentials, with C(namespace) and C(name).
      - Without it and O(pull_secret_file) the content is in E(DOCKER_AUTH_CONFIG), if a pull secret is needed.
    type: dict
  prune:
    description: Remove models that this installer applied and that are not in the inventory.
    type: bool
    default: true
  only:
    description: Names of the models to act on, as C(name) or C(namespace/name). Empty takes all.
    type: list
    elements: str
    default: []
  delete:
    description:
      - How many models may be removed at once, or C(yes) for any number.
      - Empty lets up to five be removed, unless they are all there are.
    type: str
    default: ""
  recreate:
    description: Names of models that may be deleted and made anew when they cannot be changed.
    type: list
    elements: str
    default: []
  move:
    description: Names of models of an earlier release that shall go over to the presets of this one.
    type: list
    elements: str
    default: []
notes:
  - Supports check mode and diff.
extends_documentation_fragment:
  - inference.platform.cluster
  - inference.platform.plan
  - inference.platform.plan.rendered
  - inference.platform.controller
author:
  - The inference platform project (@inference-platform)
"""

EXAMPLES = r"""
- name: Apply the models
  inference.platform.models:
    rendered: "{{ platform_rendered }}"
    platform: "{{ platform }}"
    pull_secret_file: ~/pull-secret.json
"""

RETURN = r"""
models:
  description: The models of the run, as C(namespace/name).
  returned: always
  type: list
  elements: str
routes:
  description: HTTPRoutes over several models that the run acted on, as C(namespace/name).
  returned: always
  type: list
  elements: str
touched:
  description: Those of which something was made or changed, and that are not stopped by it.
  returned: always
  type: list
  elements: str
failed_models:
  description: Those of which an object was refused.
  returned: always
  type: list
  elements: str
"""
