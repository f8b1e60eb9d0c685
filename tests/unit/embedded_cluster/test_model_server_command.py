"""How the command of a model's pod is read: as bash and vLLM would."""

from __future__ import annotations

import pytest
from embedded_cluster.model_server import shell
from embedded_cluster.model_server.command_line import UsageError, parse

SCRIPT = (
    'eval "exec vllm serve /mnt/models --served-model-name qwen --port 8000 --disable-uvicorn-access-log '
    "--enable-ssl-refresh --ssl-certfile /var/run/kserve/tls/tls.crt --ssl-keyfile /var/run/kserve/tls/tls.key "
    '${VLLM_ADDITIONAL_ARGS} $*"'
)
PRESET = ["/bin/bash", "-c", SCRIPT, "--"]


def serve(*args: str, **env: str) -> list[str]:
    return shell.words(["/bin/bash", "-c", 'eval "exec vllm serve ${MORE} $*"', "--"], args, env)


@pytest.mark.parametrize(
    ("script", "env", "expected"),
    [
        ("vllm serve /m", {}, ["vllm", "serve", "/m"]),
        ("exec vllm serve /m --seed 1", {}, ["vllm", "serve", "/m", "--seed", "1"]),
        ("vllm serve $MODEL", {"MODEL": "/m"}, ["vllm", "serve", "/m"]),
        ("vllm serve ${MODEL:-/d}", {}, ["vllm", "serve", "/d"]),
        ("vllm serve ${MODEL:-/d}", {"MODEL": ""}, ["vllm", "serve", "/d"]),
        ("vllm serve /m --rank $(( ${INDEX:-0} * 2 ))", {"INDEX": "3"}, ["vllm", "serve", "/m", "--rank", "6"]),
        ("vllm serve /m --text '$HOME a'", {"HOME": "/h"}, ["vllm", "serve", "/m", "--text", "$HOME a"]),
        ('eval "vllm serve \\${LATER}"', {"LATER": "/l"}, ["vllm", "serve", "/l"]),
    ],
)
def test_scripts_end_in_the_words_that_bash_would_start(script: str, env: dict[str, str], expected: list[str]) -> None:
    assert shell.words(["bash", "-c", script, "--"], [], env) == expected


def test_arguments_of_the_container_come_last() -> None:
    assert serve("--max-model-len", "8192", MORE="--seed 1") == [
        *("vllm", "serve", "--seed", "1", "--max-model-len", "8192")
    ]


def test_json_keeps_its_quotes_only_inside_quotes() -> None:
    bare, quoted = '--kv-events-config {"a":1}', "--kv-events-config '{\"a\":1}'"
    assert serve(MORE=bare)[-1] == "{a:1}"
    assert serve(MORE=quoted)[-1] == '{"a":1}'


@pytest.mark.parametrize(
    "script",
    [
        "vllm serve /m; rm -rf /",
        "vllm serve /m | tee log",
        "vllm serve $(cat name)",
        "vllm serve `cat name`",
        "a=1\nvllm serve /m",
        "vllm serve 'unbalanced",
    ],
)
def test_what_is_more_than_one_command_is_refused_and_never_run(script: str) -> None:
    with pytest.raises(shell.ShellError):
        shell.words(["bash", "-c", script], [], {})


def test_the_preset_gives_port_name_and_certificate() -> None:
    settings = parse(PRESET, [], {})
    assert (settings.port, settings.served_names) == (8000, ("qwen",))
    assert settings.certificate == "/var/run/kserve/tls/tls.crt"


def test_later_arguments_win_and_underscores_are_dashes() -> None:
    settings = parse(PRESET, ["--block_size=32", "--max-num-seqs", "4", "--max-num-seqs", "8"], {})
    assert (settings.block_size, settings.max_sequences) == (32, 8)


def test_adapters_come_as_pairs_or_json() -> None:
    settings = parse(
        ["vllm", "serve", "/m"],
        ["--enable-lora", "--lora-modules", "sql=/a", '{"name": "chat", "path": "/b"}', "--max-loras", "2"],
        {},
    )
    assert (settings.loras, settings.max_loras) == ({"sql": "/a", "chat": "/b"}, 2)


def test_model_paths_are_those_of_the_container() -> None:
    settings = parse(["vllm", "serve", "/host/pod/mnt/models"], [], {})
    assert settings.inside("/host/pod").model == "/mnt/models"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--no-such-flag"], "unrecognized arguments: --no-such-flag"),
        (["--port", "http"], "argument --port: invalid int value"),
        (["--lora-modules", "a=/a"], "--lora-modules needs --enable-lora"),
        (["--kv-events-config", "{a:1}"], "argument --kv-events-config: Value {a:1} cannot be converted"),
        (["--ssl-keyfile", ""], "must be given together"),
        (["--max-model-len", "many"], "argument --max-model-len: invalid value: 'many'"),
    ],
)
def test_wrong_arguments_end_the_server_as_they_end_vllm(args: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("(", r"\(")):
        parse(["vllm", "serve", "/m", "--ssl-certfile", "/c", "--ssl-keyfile", "/k"], args, {})


@pytest.mark.parametrize("command", [["vllm", "bench"], ["/app/epp"], ["sleep", "1"]])
def test_other_programs_are_not_served(command: list[str]) -> None:
    with pytest.raises(UsageError, match="expected `vllm serve`"):
        parse(command, [], {})
