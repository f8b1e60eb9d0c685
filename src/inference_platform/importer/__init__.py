"""From objects that somebody wrote for KServe and the Gateway API to entries of the inventory.

    result = import_objects(objects, platform)
    result.inventory    # {models, model_profiles, model_routes}, what can go into group_vars
    result.outcomes     # one per object: its entry, and what is different, or why it was refused

An entry is only handed out after it was rendered again and compared with the object it
comes from: what is not the same is either one of the differences that ``explained`` names,
or the object is refused. ``python -m inference_platform.importer FILE...`` prints entries.
"""

from inference_platform.importer.objects import KINDS, ImportResult, Outcome, import_objects

__all__ = ["KINDS", "ImportResult", "Outcome", "import_objects"]
