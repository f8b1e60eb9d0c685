"""The HTML page: complete, self-contained, safe against hostile names."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from inference_platform.report import render_html
from inference_platform.report.context import Objects
from inference_platform.report.observation import Observation
from inference_platform.report.observe import observe
from tests.unit.report import example

VOID = {"meta", "link", "br", "img", "input", "hr"}
LOADING_ATTRIBUTES = {"src", "href", "xlink:href", "srcset", "data", "action", "poster", "background"}
HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'&"


class Page(HTMLParser):
    """Elements with their attributes, text, and whether every element was closed."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def empty() -> Observation:
    """A cluster on which nothing was installed yet."""
    return observe(Objects(), example.platform(), example.context(timings={}, layer_problems={}))


OBSERVATIONS = pytest.mark.parametrize("observation", [example.observation(), empty()], ids=["full", "empty"])


@OBSERVATIONS
def test_the_page_is_well_formed(observation: Observation) -> None:
    page = Page(render_html(observation))
    assert page.open == []
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))


@OBSERVATIONS
def test_the_page_loads_nothing(observation: Observation) -> None:
    markup = render_html(observation)
    page = Page(markup)
    assert [a for _, a in page.elements if LOADING_ATTRIBUTES & set(a)] == []
    assert not {"script", "link", "iframe", "object", "embed", "image"} & {tag for tag, _ in page.elements}
    style = re.search(r"<style>(.*?)</style>", markup, re.S)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    policies = [a["content"] for a in page.named("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]


@OBSERVATIONS
def test_both_pictures_have_a_text_alternative(observation: Observation) -> None:
    pictures = Page(render_html(observation)).named("svg")
    assert [picture["role"] for picture in pictures] == ["img", "img"]
    assert all(len(str(picture["aria-label"])) > 40 for picture in pictures)


def test_everything_worth_knowing_is_on_the_page() -> None:
    observation = example.observation()
    text = " ".join(" ".join(Page(render_html(observation)).text).split())
    assert observation.gateway is not None
    (model,) = observation.models
    wanted = [
        *(layer.title for layer in observation.layers),
        *(entry.name for entry in observation.namespaces),
        *(entry.name for entry in observation.deployments),
        *(entry.name for entry in observation.services),
        *(entry.name for entry in observation.crds),
        *(node.name for node in observation.nodes),
        *(pod.name for pod in model.pods),
        *(condition.type for condition in model.conditions),
        *(command.command for command in observation.commands),
        *observation.unverified,
        observation.gateway.address,
        model.url,
        "Release 3.4 (redhat on aws, cloud manager 3.5), inventory eks",
        "Kubernetes v1.34.4",
    ]
    assert [part for part in wanted if part not in text] == []


def test_problems_are_on_the_page() -> None:
    page = Page(render_html(empty()))
    assert "Namespace istio-system does not exist." in page.text
    assert "Not ready: inference platform 3.4.4 on inference-demo" in page.text


def hostile() -> Observation:
    """The example with markup in every place that a cluster's users can write."""
    whole = example.observation()
    assert whole.gateway is not None
    (model,) = whole.models
    bad = replace(
        model,
        name=HOSTILE,
        namespace=HOSTILE,
        served_name=HOSTILE,
        uri=HOSTILE,
        url=HOSTILE,
        pool=HOSTILE,
        route=HOSTILE,
        ready=False,
        conditions=tuple(
            replace(c, type=HOSTILE, status="False", reason=HOSTILE, message=HOSTILE) for c in model.conditions
        ),
        pods=tuple(replace(pod, name=HOSTILE, phase=HOSTILE, node=HOSTILE) for pod in model.pods),
    )
    return replace(
        whole,
        inventory=HOSTILE,
        cluster=replace(whole.cluster, name=HOSTILE, version=HOSTILE),
        models=(bad,),
        nodes=tuple(replace(n, name=HOSTILE, instance_type=HOSTILE, gpu_product=HOSTILE) for n in whole.nodes),
        layers=tuple(replace(layer, title=HOSTILE, releases=(HOSTILE,)) for layer in whole.layers),
        gateway=replace(whole.gateway, address=HOSTILE, name=HOSTILE, message=HOSTILE, programmed=False),
        deployments=tuple(replace(d, name=HOSTILE) for d in whole.deployments),
        services=tuple(replace(s, name=HOSTILE) for s in whole.services),
        crds=tuple(replace(c, name=HOSTILE, missing=(HOSTILE,)) for c in whole.crds),
        problems=(HOSTILE,),
        unverified=(HOSTILE,),
        environment=HOSTILE,
        commands=tuple(replace(c, purpose=HOSTILE, command=HOSTILE) for c in whole.commands),
    )


def test_hostile_names_stay_text() -> None:
    page = Page(render_html(hostile()))
    assert page.open == []
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "img"}
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert HOSTILE in page.text


def test_many_models_keep_the_picture_readable() -> None:
    whole = example.observation()
    (model,) = whole.models
    many = tuple(replace(model, name=f"model-{index:02d}") for index in range(30))
    page = Page(render_html(replace(whole, models=many)))
    assert "and 18 more models (all are listed below)" in page.text
    assert len([tag for tag, _ in page.elements if tag == "article"]) == 30


def test_the_same_observation_gives_the_same_page() -> None:
    assert render_html(example.observation()) == render_html(example.observation())
