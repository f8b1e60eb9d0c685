#!/usr/bin/python
"""Documentation of the action inference.platform.models_explain; plugins/action/models_explain.py does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: models_explain
short_description: Show why a model is as it is
version_added: 0.1.0
description:
  - Shows the entry of a model as it is put together from entry, profiles, defaults and language, with file and line,
    and its objects with the settings that each value depends on. The routes that lead to it are among them, with what
    the other models of its traffic group add.
  - Needs no cluster.
options:
  model:
    description: The model, as C(name) or C(namespace/name).
    type: str
    required: true
  inventories:
    description: Folders or files of the inventory, for file and line. Default is what was given with C(-i).
    type: list
    elements: path
notes:
  - Supports check mode.
extends_documentation_fragment:
  - inference.platform.plan
  - inference.platform.plan.rendered
  - inference.platform.plan.move
  - inference.platform.controller
author:
  - The inference platform project (@inference-platform)
"""

EXAMPLES = r"""
- name: Explain a model
  inference.platform.models_explain:
    model: qwen-basic
    rendered: "{{ platform_rendered }}"
    platform: "{{ platform }}"
"""

RETURN = ""
