"""From the settings of an inventory to the plan of what is installed, in order.

    plan = resolve(settings)            # InventoryError carries every finding
    platform = plan.to_dict()           # plain data, the fact ``platform``

``settings`` are the platform variables of the inventory (``platform_release``,
``distribution``, ``provider``, ``ownership``, ``cloud_manager`` ...). Missing ones
take the defaults of ``schemas/inventory.schema.json``.
"""

from inference_platform.platform.plan import Layer, Plan, Release
from inference_platform.platform.resolve import resolve

__all__ = ["Layer", "Plan", "Release", "resolve"]
