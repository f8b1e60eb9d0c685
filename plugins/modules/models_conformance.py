#!/usr/bin/python
"""Documentation of inference.platform.models_conformance; plugins/action/models_conformance.py does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: models_conformance
short_description: Check that models do what the guides of llm-d promise
version_added: 0.1.0
description:
  - Runs profiles of F(catalog/conformance.yml) on the models, traffic groups and objectives of the inventory. It sends
    requests through the gateway, as a client would, and reads what the pods counted meanwhile through the API server.
  - Counters of pods include the requests of others. Expect profiles to fail on models that are in use.
  - Models that cannot be reached from here are named, and count as failed only with O(required).
  - In check mode it sends nothing.
options:
  profiles:
    description: Names of the profiles to run. Empty takes all.
    type: list
    elements: str
    default: []
  only:
    description: Names of the models to ask, as C(name) or C(namespace/name). Empty takes all.
    type: list
    elements: str
    default: []
  required:
    description: Fail when a model cannot be reached from here.
    type: bool
    default: false
  patience_seconds:
    description: Seconds for which a request that goes wrong is repeated.
    type: float
    default: 10.0
  note:
    description: Sentence that is added when models cannot be reached, for clusters of which the reason is known.
    type: str
    default: ""
notes:
  - Needs the right to C(get pods/proxy) in the namespaces of the models.
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
- name: Check what the guides promise
  inference.platform.models_conformance:
    rendered: "{{ platform_rendered }}"
    platform: "{{ platform }}"
    profiles: [basic, prefix_cache]
"""

RETURN = r"""
failed_profiles:
  description: Names of the profiles of which a check failed.
  returned: always
  type: list
  elements: str
"""
