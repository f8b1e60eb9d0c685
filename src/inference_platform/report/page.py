"""The report as one HTML page that needs nothing else: no script, no font, no request.

The template escapes every value; the pictures come from ``svg``, which does the
same. The page follows the light or dark setting of the reader.
"""

from __future__ import annotations

from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from inference_platform.report import layer_picture, route_picture, wording
from inference_platform.report.observation import NOT_READY, Observation

TEMPLATE = "page.html.j2"
STYLE = "page.css"


def render_html(observation: Observation) -> str:
    """The complete page as text."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals["say"] = wording
    environment.filters["capitalize_first"] = lambda text: text[:1].upper() + text[1:]
    page = environment.from_string(_read(TEMPLATE))
    longest = max((layer.seconds or 0.0 for layer in observation.layers), default=0.0)
    return page.render(
        seen=observation,
        totals=observation.totals,
        titles={layer.name: layer.title for layer in observation.layers},
        short=_short(observation),
        longest=max(longest, observation.models_seconds or 0.0),
        style=Markup(_read(STYLE)),
        route_picture=Markup(route_picture.render(observation)),
        layer_picture=Markup(layer_picture.render(observation)),
    )


def _short(observation: Observation) -> set[str]:
    """The totals that deserve a warning colour: something asked for is missing. Free GPUs are fine."""
    short = {name for name, count in observation.totals.items() if not count.complete} - {"gpus"}
    unchecked_only = all(layer.state != NOT_READY for layer in observation.layers)
    return short - {"layers"} if unchecked_only else short


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
