"""The rules of the model language.

    check_model(subject)            # one completed entry
    check_spec(subject, spec)       # its rendered spec, after override
    check_inventory(inventory)      # what models share
    RULES.all                       # every rule with code, title, scope, severity

Rules about a live cluster are in ``rules.cluster``; they take facts as arguments.
"""

from inference_platform.models.rules import (  # noqa: F401 - they join the list
    by_schema,
    cluster,
    memory,
    router,
    size,
    source,
    spec,
    traffic,
)
from inference_platform.models.rules.engine import Objection, Problem, Rule
from inference_platform.models.rules.registry import RULES

__all__ = ["RULES", "Objection", "Problem", "Rule"]
