#!/usr/bin/python
"""Documentation of the action inference.platform.crds; plugins/action/crds.py does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: crds
short_description: Apply sets of custom resource definitions
version_added: 0.1.0
description:
  - Finds each file in the cache, the mirror or at its URL, checks it against the lock, and applies what
    differs with server-side apply.
  - CRDs are never removed, and a version that objects are stored in is never dropped.
options:
  layer:
    description: Layer that the CRDs belong to; becomes a label.
    type: str
    required: true
  sets:
    description: CRD sets by name, each with its files (name, url, sha256), as in the plan.
    type: dict
    required: true
  directory:
    description: Folder with the files as C(<set>/<name>.json) or C(.yaml). When set, files come from there, unverified.
    type: path
  mirror:
    description: Web server with the files as C(<mirror>/<host>/<path>), asked before the URLs.
    type: str
  cache:
    description: Folder for downloaded files. Empty takes the user's cache folder.
    type: path
  adopted:
    description: Layers that may take over CRDs which somebody else applied.
    type: list
    elements: str
    default: []
  wait:
    description: Wait until new CRDs are served. Not needed where the gate of the layer follows at once.
    type: bool
    default: true
  timeout_seconds:
    description: Seconds after which the run fails when new CRDs are not served.
    type: int
    default: 300
notes:
  - Supports check mode and diff.
extends_documentation_fragment:
  - inference.platform.cluster
  - inference.platform.controller
author:
  - The inference platform project (@inference-platform)
"""

EXAMPLES = r"""
- name: Apply the CRDs of the Gateway API
  inference.platform.crds:
    layer: gateway_api
    sets: "{{ platform.crds | inference.platform.sets_of(['gateway-api']) }}"
"""

RETURN = ""
