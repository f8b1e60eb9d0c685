"""The endpoint picker (scheduler) of a model: its configuration, and what it asks of the model servers.

    wiring = wiring_for(entry, serving)                 # both sides from one place; see Wiring
    config, mistakes = config_for(entry, serving)       # the configuration alone
    mistakes = check_config(config, serving["endpoint_picker"], path, prefill=...)   # any configuration
    mistakes = check_flags(args, serving["endpoint_picker"], path)                   # any scheduler arguments
    asked = asked_of_servers(entry, config)             # of the model servers, by any configuration
    objects = objective_objects(entry, serving)         # InferenceObjectives
    objects = rewrite_objects(entry, serving)           # InferenceModelRewrite
    mistakes = object_mistakes(entry)                   # rules about these two
    pairs = shared_names(entries)                       # (position, mistake), over all models

``entry`` is a merged model entry that follows the schema. These keys are read, no others: ``name``,
``namespace``, ``served_name``, ``scheduler`` (``schemas/scheduler.schema.json``; also objectives and
model rewrites), ``prefill`` (present: prefill workers), ``parallelism.data``, ``lora``, ``vllm``,
``command``, ``args``, ``env`` and ``router.pool`` (present: the scheduler is not ours).
``serving`` is ``plan["serving"]``; only ``endpoint_picker`` is read, the program of the release.

Nothing is raised for what a user wrote: mistakes come back as ``Mistake`` with a path inside the entry,
so that the caller adds model, file and line. Facts: models.md 2.5, 2.6 and 4.
"""

from inference_platform.models.scheduler.check import check_config, check_flags
from inference_platform.models.scheduler.mistakes import Mistake
from inference_platform.models.scheduler.objects import (
    object_mistakes,
    objective_objects,
    rewrite_objects,
    shared_names,
)
from inference_platform.models.scheduler.wiring import Wiring, asked_of_servers, config_for, wiring_for

__all__ = [
    "Mistake",
    "Wiring",
    "asked_of_servers",
    "check_config",
    "check_flags",
    "config_for",
    "object_mistakes",
    "objective_objects",
    "rewrite_objects",
    "shared_names",
    "wiring_for",
]
