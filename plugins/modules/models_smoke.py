#!/usr/bin/python
"""Documentation of the action inference.platform.models_smoke; plugins/action/models_smoke.py does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: models_smoke
short_description: Ask models for answers
version_added: 0.1.0
description:
  - Sends the requests of C(catalog/smoke.yml) to each model, from the machine that runs Ansible.
  - A model that cannot be reached from there is told as such; it is neither passed nor failed.
  - In check mode it sends nothing.
options:
  only:
    description: Names of the models to test, as C(name) or C(namespace/name). Empty takes all.
    type: list
    elements: str
    default: []
  limit:
    description: Of those, test only these, as C(namespace/name). Left out means all.
    type: list
    elements: str
  required:
    description: Fail also when a model cannot be reached.
    type: bool
    default: false
  patience_seconds:
    description: Seconds for which a request that goes wrong is repeated.
    type: float
    default: 10.0
  note:
    description: Sentence that is added when a model cannot be reached, for clusters of which the reason is known.
    type: str
    default: ""
notes:
  - Supports check mode.
extends_documentation_fragment:
  - inference.platform.cluster
  - inference.platform.plan
  - inference.platform.plan.rendered
  - inference.platform.controller
author:
  - The inference platform project (@inference-platform)
"""

EXAMPLES = r"""
- name: Test the models
  inference.platform.models_smoke:
    rendered: "{{ platform_rendered }}"
    platform: "{{ platform }}"
"""

RETURN = r"""
summary:
  description: How many models passed, failed, or could not be reached.
  returned: always
  type: str
answered:
  description: Models, as C(namespace/name), that passed.
  returned: always
  type: list
  elements: str
"""
