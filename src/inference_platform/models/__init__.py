"""Models as data: entries of the inventory in, Kubernetes objects out.

    result = render(entries, defaults, platform, sources)
    result.objects      # list of objects in apply order (namespaces first)
    result.findings     # all of them; render only what has no error
    result.models       # one ModelSummary per entry without an error

``platform`` is the plan as plain data (``Plan.to_dict()``).
GPU capacity of a live cluster is judged by ``capacity.check(models, nodes, pods)``.
"""

from inference_platform.models.pipeline import ModelSummary, RenderResult, render

__all__ = ["ModelSummary", "RenderResult", "render"]
