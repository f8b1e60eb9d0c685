"""From the settings of an inventory to the plan of what is installed, in order.

    plan = resolve(settings)            # InventoryError carries every finding
    platform = plan.to_dict()           # plain data, the fact ``platform``

``settings`` are the platform variables of the inventory (``platform_release``,
``distribution``, ``provider``, ``ownership``, ``cloud_manager`` ...). Missing ones
take the defaults of ``schemas/inventory.schema.json``. The provider ``auto`` has to be
replaced before, by what ``detect`` says about the nodes.
"""

from inference_platform.platform.detect import AUTO, Detection, MixedNodesError, detect
from inference_platform.platform.plan import Layer, Plan, Release
from inference_platform.platform.resolve import resolve

__all__ = ["AUTO", "Detection", "Layer", "MixedNodesError", "Plan", "Release", "detect", "resolve"]
