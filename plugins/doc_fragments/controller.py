"""What is to be known about every action of the collection."""

from __future__ import annotations


class ModuleDocFragment:
    """``extends_documentation_fragment: inference.platform.controller``."""

    DOCUMENTATION = r"""
options: {}
notes:
  - Runs on the controller; the Python package C(inference_platform) must be installed there.
"""
