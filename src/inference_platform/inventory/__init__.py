"""What a user writes: where each value came from, and whether it is right.

    sources = Sources.load(["inventories/local"])      # file and line of every variable
    findings = validate(variables, sources)            # all of them, errors and warnings
    examine(variables, sources)                        # the same, with the models rendered on the way

``variables`` is a mapping of the inventory's variables (those Ansible has resolved
for the host); ``sources`` only adds file and line to the findings.
"""

from inference_platform.inventory.pull_secret import pull_secret_path
from inference_platform.inventory.validate import Examination, examine, settings_of, unreadable_files, validate
from inference_platform.sources import Sources

__all__ = [
    "Examination",
    "Sources",
    "examine",
    "pull_secret_path",
    "settings_of",
    "unreadable_files",
    "validate",
]
