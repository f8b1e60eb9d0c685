"""Texts that Ansible cannot resolve are told one by one, where they are written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import EncryptedString, VaultSecretsContext
from ansible.template import Templar, trust_as_template
from ansible_collections.inference.platform.plugins.plugin_utils.templates import resolved, told_first

from inference_platform.findings import Finding
from inference_platform.sources import dotted

CHAT_TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"


@pytest.fixture
def resolve() -> Any:
    """What resolves templates in a task, with one variable."""
    return Templar(loader=DataLoader(), variables={"team": "team-a"}).template


def trusted(value: Any) -> Any:
    """As Ansible reads it from an inventory."""
    if isinstance(value, Mapping):
        return {key: trusted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [trusted(item) for item in value]
    return trust_as_template(value) if isinstance(value, str) else value


def test_what_can_be_resolved_is(resolve: Any) -> None:
    models = trusted([{"namespace": "{{ team }}", "replicas": 2}])
    assert resolved(resolve, "models", models) == ([{"namespace": "team-a", "replicas": 2}], [])


def test_a_text_that_is_unsafe_stays_as_it_is(resolve: Any) -> None:
    models = trusted([{"namespace": "{{ team }}"}])
    models[0]["args"] = [CHAT_TEMPLATE]
    value, wrong = resolved(resolve, "models", models)
    assert value == [{"namespace": "team-a", "args": [CHAT_TEMPLATE]}]
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (CHAT_TEMPLATE, "'messages' is undefined"),
        ("{{ x", "unexpected end of template"),
        ("{% x %}", "unknown tag 'x'"),
    ],
)
def test_each_text_that_cannot_be_resolved_is_named_and_the_rest_is_resolved(
    resolve: Any, text: str, problem: str
) -> None:
    models = trusted([{"namespace": "{{ team }}", "replicas": "{{ n }}"}, {"vllm": {"chat_template": text}}])
    value, wrong = resolved(resolve, "models", models)
    assert value == [{"namespace": "team-a", "replicas": "{{ n }}"}, {"vllm": {"chat_template": text}}]
    assert [one.path for one in wrong] == [("models", 0, "replicas"), ("models", 1, "vllm", "chat_template")]
    assert "'n' is undefined" in wrong[0].problem
    assert problem in wrong[1].problem


def test_findings_say_where_and_what_to_do_and_stand_for_what_comes_of_the_text(resolve: Any) -> None:
    _, wrong = resolved(resolve, "models", trusted([{"replicas": "{{ n }}"}]))
    others = [
        Finding("IP-INV-003", "error", where, "a whole number", "a text", "Change it.")
        for where in ("models[0].replicas (qwen)", "models[0].replicas", "models[0].replicas_x", "models[0].gpu (qwen)")
    ]
    found = told_first(wrong, others, dotted)
    assert [(one.code, one.where) for one in found] == [
        ("IP-INV-007", "models[0].replicas"),
        ("IP-INV-003", "models[0].replicas_x"),
        ("IP-INV-003", "models[0].gpu (qwen)"),
    ]
    assert "!unsafe" in found[0].remedy
    assert "models/NAME.yml" in found[0].remedy


def test_a_value_that_cannot_be_decrypted_is_named_where_it_is(resolve: Any) -> None:
    if VaultSecretsContext.current(optional=True) is None:
        VaultSecretsContext.initialize(VaultSecretsContext(secrets=[]))
    sealed = EncryptedString(ciphertext="$ANSIBLE_VAULT;1.1;AES256\n6162\n")
    value, wrong = resolved(resolve, "models", [{"uri": sealed, "name": "m", "args": trusted(["{{ n }}", sealed])}])
    assert value == [{"uri": "", "name": "m", "args": ["{{ n }}", ""]}]
    found = {one.where: one for one in told_first(wrong, [], dotted)}
    assert {where: one.code for where, one in found.items()} == {
        "models[0].args[0]": "IP-INV-007",
        "models[0].uri": "IP-INV-009",
        "models[0].args[1]": "IP-INV-009",
    }
    assert "decrypt" in found["models[0].uri"].found
    assert "--vault-password-file" in found["models[0].uri"].remedy


def test_a_file_of_its_own_is_proposed_for_models_alone(resolve: Any) -> None:
    _, wrong = resolved(resolve, "kubeconfig", trusted("{{ nowhere }}/config"))
    (finding,) = told_first(wrong, [], dotted)
    assert finding.where == "kubeconfig"
    assert "models/" not in finding.remedy
