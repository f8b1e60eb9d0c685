"""Nothing secret is printed; what is no secret stays readable."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from inference_platform.cluster import redact

PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEabc\n-----END RSA PRIVATE KEY-----"
SECRET: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "s"},
    "data": {"a": "c2VjcmV0", "b": "b3RoZXI="},
    "stringData": {"c": "plain"},
}


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer abcdefgh12345",
        "https://user:hunter2@registry.example.org/v2",
        "password=hunter2",
        '{"password": "hunter2"}',
        "password: hunter2",
        "--from-literal=apiKey=hunter2",
        '"auth": "dXNlcjpodW50ZXIy"',
        "AWS_SECRET_ACCESS_KEY=hunter2",
        "token: sk-12345678hunter2",
        f"key:\n{PEM}",
        "eyJhbGciOiJub25lIn0.eyJleHAiOjE3MDB9.c2lnbmF0dXJl",
    ],
)
def test_credentials_in_text_are_hidden(text: str) -> None:
    clean = redact.text(text)
    assert redact.HIDDEN in clean
    for secret in ("hunter2", "abcdefgh12345", "dXNlcjpodW50ZXIy", "MIIEabc", "eyJleHAi"):
        assert secret not in clean


@pytest.mark.parametrize(
    "text",
    [
        "getting token: context deadline exceeded",
        'secrets "rhai-ca" not found',
        'Deployment "a" exceeded its progress deadline',
        "https://api.example.org:6443/version",
        "unable to get authorization header",
    ],
)
def test_ordinary_messages_stay_as_they_are(text: str) -> None:
    assert redact.text(text) == text


def test_all_values_of_a_secret_are_hidden_and_the_original_is_untouched() -> None:
    original = copy.deepcopy(SECRET)
    clean = redact.obj(SECRET)
    assert clean["data"] == {"a": redact.HIDDEN, "b": redact.HIDDEN}
    assert clean["stringData"] == {"c": redact.HIDDEN}
    assert original == SECRET


def test_a_pair_shows_that_a_value_changed_but_not_how() -> None:
    new = copy.deepcopy(SECRET)
    new["data"]["a"] = "bmV3"
    old_clean, new_clean = redact.pair(SECRET, new)
    assert (old_clean["data"]["a"], new_clean["data"]["a"]) == (redact.HIDDEN_BEFORE, redact.HIDDEN_AFTER)
    assert (old_clean["data"]["b"], new_clean["data"]["b"]) == (redact.HIDDEN, redact.HIDDEN)


def test_a_secret_that_appears_is_hidden() -> None:
    old, new = redact.pair(None, SECRET)
    assert old is None
    assert new["data"]["a"] == redact.HIDDEN_AFTER


@pytest.mark.parametrize(
    ("value", "hidden"),
    [
        ({"env": [{"name": "HF_TOKEN", "value": "hf_abc"}]}, True),
        ({"env": [{"name": "LOG_LEVEL", "value": "hf_abc"}]}, False),
        ({"password": "hf_abc"}, True),
        ({"apiKey": "hf_abc"}, True),
        ({"secretName": "hf_abc"}, False),
        ({"tokenPath": "hf_abc"}, False),
        ({"key.pem": PEM}, True),
        ({"args": ["--password=hf_abc"]}, True),
        ({"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "hf_abc"}}}, True),
    ],
)
def test_values_elsewhere_are_hidden_by_the_name_of_their_key(value: Any, hidden: bool) -> None:
    clean = str(redact.obj(value))
    assert ("hf_abc" not in clean and "MIIEabc" not in clean) is hidden


def test_references_to_secrets_stay() -> None:
    env = {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "token"}}}
    assert redact.obj(env) == env


def test_booleans_and_numbers_under_a_secret_looking_key_stay() -> None:
    pod = {"automountServiceAccountToken": False, "token": None}
    assert redact.obj(pod) == pod


def test_a_ca_bundle_is_shortened_and_a_change_is_seen() -> None:
    old, new = redact.pair({"caBundle": "A" * 40}, {"caBundle": "B" * 50})
    assert old == {"caBundle": "<CA bundle, 40 characters, old value>"}
    assert new == {"caBundle": "<CA bundle, 50 characters, new value>"}
