"""Options of every action that talks to the cluster (``CONNECTION`` in plugin_utils/platform_action.py)."""

from __future__ import annotations


class ModuleDocFragment:
    """``extends_documentation_fragment: inference.platform.cluster``."""

    DOCUMENTATION = r"""
options:
  kubeconfig:
    description: Path of the kubeconfig. Empty takes E(KUBECONFIG) or the default of kubectl.
    type: path
  context:
    description: Context of the kubeconfig. Empty takes its current context.
    type: str
"""
