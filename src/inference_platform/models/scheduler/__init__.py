"""The endpoint picker (scheduler) of a model: its configuration, and what it asks of the model servers.

    wiring = wiring_for(entry, serving)        # everything, from one place; see Wiring
    config, mistakes = config_for(entry, serving)
    mistakes = check_config(config, picker, path, prefill=bool)
    objects, mistakes = objective_objects(priorities, models)
    objects, mistakes = rewrite_objects(entry)

``entry`` is a merged model entry that follows the schema. These keys are read, no others:
``name``, ``namespace``, ``served_name``, ``scheduler`` (``schemas/scheduler.schema.json``),
``prefill`` (present: prefill/decode disaggregation), ``parallelism.data`` (number of data-parallel
ranks) and ``lora`` (present: adapters are served).
``serving`` is ``plan["serving"]``; read is ``endpoint_picker`` (name of the endpoint picker binary
in ``catalog/endpoint_picker_plugins.yml``; the release names it) and ``serving_port``.

Nothing is raised for what a user wrote: mistakes come back as ``Mistake`` with a path inside the
entry, so that the caller adds model, file and line.
"""

from inference_platform.models.scheduler.mistakes import Mistake
from inference_platform.models.scheduler.wiring import Wiring, config_for, wiring_for

__all__ = ["Mistake", "Wiring", "config_for", "wiring_for"]
