"""Options for what an earlier task of the run, M(inference.platform.plan), returned."""

from __future__ import annotations


class ModuleDocFragment:
    """``extends_documentation_fragment``: ``inference.platform.plan``, and its parts ``.rendered`` and ``.move``."""

    DOCUMENTATION = r"""
options:
  platform:
    description: The plan, as returned by M(inference.platform.plan).
    type: dict
    required: true
"""

    RENDERED = r"""
options:
  rendered:
    description: File with the rendered models, as returned by M(inference.platform.plan) in the same run.
    type: path
    required: true
"""

    MOVE = r"""
options:
  move:
    description:
      - Names of models that go over to this release, as C(name) or C(namespace/name). Of others the result says that
        the cluster may have them as an earlier release wrote them.
    type: list
    elements: str
    default: []
"""
