"""The catalogue of plugins and strategies: it agrees with itself, and with the source of the program that runs here."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference_platform.catalog import load as load_releases
from inference_platform.models.scheduler.catalogue import Catalogue, Parameter, load

MODULE = "sigs.k8s.io/gateway-api-inference-extension@v1.3.1"

CATALOGUE = load()


def test_every_release_names_a_program_that_is_known() -> None:
    for release in load_releases().releases.values():
        assert release["serving"]["endpoint_picker"] in CATALOGUE.programs


def test_names_lead_somewhere() -> None:
    programs = set(CATALOGUE.programs)
    gates = {gate for program in CATALOGUE.programs.values() for gate in program.gates}
    for plugin in CATALOGUE.plugins.values():
        assert set(plugin.programs) <= programs
        assert plugin.gate is None or plugin.gate in gates
        assert plugin.replaced_by is None or plugin.replaced_by in CATALOGUE.plugins
        for rule in _parameters(plugin.parameters):
            assert set(rule.programs or ()) <= programs
            assert set(rule.breaks) <= programs
            assert rule.replaced_by or not rule.breaks
    assert set(CATALOGUE.gate_of_section.values()) <= gates


def test_strategies_are_made_of_scorers_and_a_picker() -> None:
    for strategy in CATALOGUE.strategies.values():
        if strategy.instead:
            continue
        assert CATALOGUE.plugins[strategy.picker].kinds == ("picker",)
        for scorer, weight in strategy.scorers.items():
            assert "scorer" in CATALOGUE.plugins[scorer].kinds
            assert weight == int(weight), "programs with whole weights take the strategies too"


def test_a_session_outweighs_load() -> None:
    weights = dict(CATALOGUE.strategies["session_affinity"].scorers)
    assert weights.pop("session-affinity-scorer") > sum(weights.values())


def test_defaults_are_values_that_the_parameter_takes() -> None:
    kinds = {"boolean": bool, "integer": int, "number": (int, float), "text": str, "duration": str}
    for plugin in CATALOGUE.plugins.values():
        for rule in _parameters(plugin.parameters):
            if rule.default is not None:
                assert isinstance(rule.default, kinds[rule.type])


def test_a_later_program_has_what_an_earlier_one_had() -> None:
    earlier, later, release = (set(CATALOGUE.plugins_of(name)) for name in ("gie-1.3.1", "gie-1.4.0", "llm-d-0.7.1"))
    assert earlier < later < release


def test_the_program_that_runs_here_has_these_plugins_and_no_others() -> None:
    source = _source()
    registered = re.findall(r"plugins\.Register\((?:\w+\.)?(\w+),", (source / "cmd/epp/runner/runner.go").read_text())
    types = {_constant(source, name) for name in registered}
    assert types == set(CATALOGUE.plugins_of("gie-1.3.1"))


def test_the_program_that_runs_here_has_these_gates() -> None:
    text = "\n".join(path.read_text() for path in (_source() / "pkg/epp").rglob("*.go"))
    assert set(re.findall(r'\w*FeatureGate\s*=\s*"(\w+)"', text)) == set(CATALOGUE.programs["gie-1.3.1"].gates)


def test_the_prefix_scorer_that_runs_here_has_these_parameters() -> None:
    text = (_source() / "pkg/epp/scheduling/framework/plugins/multi/prefix/plugin.go").read_text()
    block = text[text.index("type Config struct") :].split("\n}")[0]
    known = CATALOGUE.plugins["prefix-cache-scorer"].parameters
    assert set(re.findall(r'json:"(\w+)"', block)) == {
        name for name, rule in known.items() if rule.known_to("gie-1.3.1")
    }


def _parameters(parameters: dict[str, Parameter] | None) -> Iterator[Parameter]:
    for rule in (parameters or {}).values():
        yield rule
        yield from _parameters(rule.keys)  # type: ignore[arg-type]


def _source() -> Path:
    root = Path(os.environ.get("GOMODCACHE") or Path.home() / "go" / "pkg" / "mod")
    if not (root / MODULE).is_dir():
        pytest.skip(f"the source of the Go module {MODULE} is not here; `make tools` fetches it")
    return root / MODULE


def _constant(source: Path, name: str) -> str:
    for path in (source / "pkg/epp").rglob("*.go"):
        found = re.search(rf'\b{name}\s*=\s*"([^"]+)"', path.read_text())
        if found:
            return found[1]
    raise AssertionError(f"no constant {name} in {source}")


def test_the_catalogue_is_read_once() -> None:
    assert isinstance(load(), Catalogue)
    assert load() is CATALOGUE
