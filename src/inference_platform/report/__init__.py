"""The report: what is on the cluster now, for a terminal, as JSON, and as one HTML page.

    from inference_platform.report import collect, render_html, render_json, render_text

    observation = collect(cluster, plan.to_dict(), timings, inventory="local")
    print(render_text(observation, width=100, colour=wants_colour(sys.stdout, os.environ)))

``collect`` reads the cluster; everything after it is pure. The JSON shape is
described by schemas/report.schema.json.
"""

from inference_platform.report.collect import collect
from inference_platform.report.observation import Observation, render_json
from inference_platform.report.page import render_html
from inference_platform.report.text import render_text, wants_colour

__all__ = ["Observation", "collect", "render_html", "render_json", "render_text", "wants_colour"]
