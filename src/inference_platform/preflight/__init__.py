"""Looks at a cluster before the first write: checks with stable codes, and who owns what.

Everything here is pure and takes a ``Snapshot``; ``inference_platform.cluster.survey`` reads
one from a cluster.
"""

from inference_platform.preflight.outcome import Outcome, run
from inference_platform.preflight.ownership import Decision
from inference_platform.preflight.registry import CHECKS, Scene
from inference_platform.preflight.snapshot import Snapshot

__all__ = ["CHECKS", "Decision", "Outcome", "Scene", "Snapshot", "run"]
