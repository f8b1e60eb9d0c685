"""The catalogue: what can be installed, as data (folder ``catalog/``).

catalog = load()                 # checked against schemas/catalog.schema.json
problems = check(catalog)        # what the schema cannot see: references, order, pins
"""

from inference_platform.catalog.check import check
from inference_platform.catalog.load import Catalog, CatalogError, load

__all__ = ["Catalog", "CatalogError", "check", "load"]
