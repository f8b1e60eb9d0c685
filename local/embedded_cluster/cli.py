"""Command line of the embedded cluster: `python -m embedded_cluster up|down|status|ask|kubeconfig|logs`."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp

from embedded_cluster.paths import ClusterPaths

RUNS_AS = {"binary": "real program", "standin": "stand-in", "model-server": "simulated vLLM", "proxy": "Envoy"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, 1 for a failed command, 2 for wrong usage."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except _user_errors() as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m embedded_cluster",
        description="A real Kubernetes control plane on this machine, without containers and without root.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Any, text: str | None) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text) if text else commands.add_parser(name)
        sub.add_argument("--name", default="default", help="name of the cluster (default: default)")
        sub.set_defaults(run=run)
        return sub

    build = commands.add_parser("build", help="build the programs into the user's cache, once")
    build.set_defaults(run=_build)
    up = command("up", _up, "start the cluster, or do nothing when it runs")
    up.add_argument("--flavour", default="aws", help="nodes to show (nodes/<flavour>.yml)")
    up.add_argument("--tools", type=Path, help="folder with bin/ and crds/ (default: built on demand)")
    down = command("down", _down, "stop the cluster and delete its data; logs stay")
    kept = down.add_mutually_exclusive_group()
    kept.add_argument("--keep-data", action="store_true", help="keep the data for the next up")
    kept.add_argument("--purge", action="store_true", help="remove the logs too")
    command("status", _status, "show processes, nodes and pods")
    command("ask", _ask, "ask every model for a completion through the gateway")
    command("kubeconfig", _kubeconfig, "print the path of the administrator's kubeconfig")
    logs = command("logs", _logs, "show the end of a process's log")
    logs.add_argument("process", nargs="?", help="name of a log; without it the names are listed")
    logs.add_argument("-n", "--lines", type=int, default=40)
    logs.add_argument("-f", "--follow", action="store_true")
    supervise = command("supervise", _supervise, None)
    supervise.add_argument("--tools", type=Path, required=True)
    supervise.add_argument("--flavour", required=True)
    supervise.add_argument("--report-fd", type=int)
    agent = command("node-agent", _node_agent, None)
    agent.add_argument("--tools", type=Path, required=True)
    return parser


def _user_errors() -> tuple[type[Exception], ...]:
    from embedded_cluster.ask import AskError
    from embedded_cluster.launcher import ClusterError
    from embedded_cluster.tools import ToolsError

    return AskError, ClusterError, ToolsError, ValueError


def _build(_: argparse.Namespace) -> int:
    from embedded_cluster import tools

    print(tools.ensure())
    return 0


def _up(arguments: argparse.Namespace) -> int:
    from embedded_cluster import launcher, tools

    launcher.up(arguments.name, tools=arguments.tools or tools.ensure(), flavour=arguments.flavour)
    return 0


def _down(arguments: argparse.Namespace) -> int:
    from embedded_cluster import launcher

    if arguments.purge:
        launcher.destroy(arguments.name)
    else:
        launcher.down(arguments.name, keep_data=arguments.keep_data)
    return 0


def _ask(arguments: argparse.Namespace) -> int:
    from embedded_cluster.ask import ask_models

    for question, text in asyncio.run(ask_models(ClusterPaths.of(arguments.name))):
        print(f"{question.model} answers through the gateway:\n\n    {question.body['prompt']}{text}\n")
        print(f"Ask it yourself:\n\n    {question.command}\n")
    return 0


def _kubeconfig(arguments: argparse.Namespace) -> int:
    print(ClusterPaths.of(arguments.name).kubeconfig)
    return 0


def _supervise(arguments: argparse.Namespace) -> int:
    from embedded_cluster.supervisor import run_supervisor

    report = os.fdopen(arguments.report_fd, "w") if arguments.report_fd is not None else None
    run_supervisor(ClusterPaths.of(arguments.name), arguments.tools, arguments.flavour, report)
    return 0


def _node_agent(arguments: argparse.Namespace) -> int:
    from embedded_cluster.node import run_node_agent

    run_node_agent(ClusterPaths.of(arguments.name), arguments.tools)
    return 0


def _logs(arguments: argparse.Namespace) -> int:
    folder = ClusterPaths.of(arguments.name).logs
    if arguments.process is None:
        for path in sorted(folder.rglob("*.log")):
            print(path.relative_to(folder).with_suffix(""))
        return 0
    path = folder / f"{arguments.process}.log"
    if not path.is_file():
        raise ValueError(f"no log {path}; `logs` without a name lists them")
    with path.open(errors="replace") as stream:
        print("".join(stream.readlines()[-arguments.lines :]), end="")
        while arguments.follow:
            print(stream.read(), end="", flush=True)
            time.sleep(0.3)
    return 0


def _status(arguments: argparse.Namespace) -> int:
    """Print tables; the exit code is 1 when the cluster does not run."""
    from embedded_cluster.state import ClusterState, pod_processes

    paths = ClusterPaths.of(arguments.name)
    state = ClusterState.load(paths)
    if state is None or not state.supervisor_alive:
        reason = f" ({state.message})" if state and state.message else ""
        print(f"embedded cluster {arguments.name}: not running{reason}")
        return 1
    print(f"embedded cluster {arguments.name}: {state.status}, kubeconfig {paths.kubeconfig}\n")
    rows = [["PROCESS", "PID", "STATE", "UP", "MEMORY"]]
    for name, process in {**state.processes, **pod_processes(paths)}.items():
        alive = process.alive()
        rows.append(
            [
                name,
                str(process.pid),
                "running" if alive else "ended",
                _duration(process.age_seconds()) if alive else "-",
                _memory(process.pid) if alive else "-",
            ]
        )
    print(_table(rows))
    print(asyncio.run(_cluster_tables(paths)))
    return 0


async def _cluster_tables(paths: ClusterPaths) -> str:
    """Tables of nodes and pods, or why there are none."""
    from embedded_cluster.kube import ApiError, KubeClient
    from embedded_cluster.pod_status import is_simulated
    from embedded_cluster.programs import Programs

    programs = Programs.load()
    async with KubeClient.from_kubeconfig(
        paths.run / "supervisor.kubeconfig", user_agent="embedded-cluster/status"
    ) as client:
        try:
            nodes, pods = await client.list("v1", "Node"), await client.list("v1", "Pod")
        except (TimeoutError, ApiError, aiohttp.ClientError) as error:
            return f"\nthe API server does not answer: {error}"
    rows = [["NODE", "TYPE", "READY", "GPUS", "PODS"]]
    for node in nodes:
        name, labels = node["metadata"]["name"], node["metadata"]["labels"]
        conditions = {item["type"]: item["status"] for item in node["status"]["conditions"]}
        gpus = node["status"]["allocatable"].get("nvidia.com/gpu", "0")
        count = sum(pod["spec"].get("nodeName") == name for pod in pods)
        rows.append([name, labels["node.kubernetes.io/instance-type"], conditions["Ready"], gpus, str(count)])
    pod_rows = [["POD", "STATUS", "RESTARTS", "RUNS AS"]]
    for pod in pods:
        statuses = (pod.get("status") or {}).get("containerStatuses") or []
        restarts = sum(item.get("restartCount", 0) for item in statuses)
        program = None if is_simulated(pod) else programs.match(pod)
        runs_as = RUNS_AS[program.kind] if program else "simulated"
        pod_rows.append(
            ["/".join((pod["metadata"]["namespace"], pod["metadata"]["name"])), _pod_state(pod), str(restarts), runs_as]
        )
    return f"\n{_table(rows)}" + (f"\n{_table(pod_rows)}" if pods else "")


def _pod_state(pod: dict[str, Any]) -> str:
    """One word on a pod: a waiting reason, or its phase with readiness."""
    status = pod.get("status") or {}
    for item in status.get("containerStatuses") or []:
        if waiting := (item.get("state") or {}).get("waiting"):
            return str(waiting["reason"])
    ready = any(item["type"] == "Ready" and item["status"] == "True" for item in status.get("conditions") or [])
    return "Ready" if ready else str(status.get("phase", "Pending"))


def _table(rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines) + "\n"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s"


def _memory(pid: int) -> str:
    """Resident memory of a process in MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return f"{pages * os.sysconf('SC_PAGE_SIZE') // 2**20} MB"
