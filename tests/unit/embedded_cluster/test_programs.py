"""Matching pods to programs, and fitting their command lines."""

from pathlib import Path

import pytest
import yaml
from embedded_cluster import programs
from embedded_cluster.programs import Programs

ROOT = Path("/pods/1")


def pod(image, command=(), args=()):
    container = {"name": "c", "image": image, "command": list(command), "args": list(args)}
    return {"metadata": {"namespace": "n", "name": "p"}, "spec": {"containers": [container]}}


@pytest.fixture(scope="module")
def known():
    return Programs.load()


DIGEST = "@sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("image", "command", "expected"),
    [
        (
            "registry.redhat.io/cert-manager/jetstack-cert-manager-rhel9",
            ["/app/cmd/controller/controller"],
            "cert-manager-controller",
        ),
        (
            "registry.redhat.io/cert-manager/jetstack-cert-manager-rhel9",
            ["/app/cmd/webhook/webhook"],
            "cert-manager-webhook",
        ),
        (
            "registry.redhat.io/cert-manager/jetstack-cert-manager-rhel9",
            ["/app/cmd/cainjector/cainjector"],
            "cert-manager-cainjector",
        ),
        (
            "registry.redhat.io/cert-manager/cert-manager-operator-rhel9",
            ["/usr/bin/cert-manager-operator"],
            "cert-manager-operator",
        ),
        (
            "registry.redhat.io/openshift-service-mesh/istio-rhel9-operator",
            ["/usr/local/bin/sail-operator"],
            "sail-operator",
        ),
        ("registry.redhat.io/openshift-service-mesh/istio-pilot-rhel9", [], "istiod"),
        ("registry.redhat.io/leader-worker-set/lws-rhel9-operator", ["lws-operator"], "lws-operator"),
        ("registry.redhat.io/leader-worker-set/lws-rhel9", ["/manager"], "lws"),
        ("registry.redhat.io/rhoai/odh-rhel9-operator", ["/manager"], "rhai-operator"),
        ("registry.redhat.io/rhoai/odh-rhel9-operator", ["/cloudmanager"], "cloud-manager"),
        ("registry.redhat.io/rhoai/odh-kserve-llmisvc-controller-rhel9", ["/manager"], "llmisvc"),
        ("mirror.example.com:5000/rhoai/odh-kserve-llmisvc-controller-rhel9", ["/manager"], "llmisvc"),
    ],
)
def test_product_images_are_known(known, image, command, expected):
    assert known.match(pod(image + DIGEST, command)).name == expected


@pytest.mark.parametrize("image", ["registry.redhat.io/rhaiis/vllm-cuda-rhel9", "docker.io/library/nginx", ""])
def test_other_images_are_simulated(known, image):
    assert known.match(pod(image + DIGEST if image else image)) is None


def test_an_image_with_an_unknown_command_is_simulated(known):
    assert known.match(pod("registry.redhat.io/cert-manager/jetstack-cert-manager-rhel9" + DIGEST, ["/bin/sh"])) is None


def test_only_the_first_container_decides(known):
    two = pod("docker.io/library/nginx")
    two["spec"]["containers"].append({"name": "d", "image": f"registry.redhat.io/leader-worker-set/lws-rhel9{DIGEST}"})
    assert known.match(two) is None


def test_an_entry_without_binary_is_refused(tmp_path):
    path = tmp_path / "programs.yml"
    path.write_text(
        yaml.safe_dump({"private_registries": [], "programs": [{"name": "x", "image": "x", "kind": "binary"}]})
    )
    with pytest.raises(ValueError, match=r"programs\[x\].binary"):
        Programs.load(path)


def test_an_entry_with_an_unknown_key_is_refused(tmp_path):
    path = tmp_path / "programs.yml"
    entry = {"name": "x", "image": "x", "kind": "binary", "binary": "x", "binds": {}}
    path.write_text(yaml.safe_dump({"private_registries": [], "programs": [entry]}))
    with pytest.raises(ValueError, match="binds"):
        Programs.load(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("--config=/etc/app/config.yml", "--config=/pods/1/etc/app/config.yml"),
        ("/etc/app", "/pods/1/etc/app"),
        ("a:/etc/app:b", "a:/pods/1/etc/app:b"),
        ("/etc/application", "/etc/application"),
        ("/opt/etc/app", "/opt/etc/app"),
        ("/etc/app/nested/file", "/elsewhere/file"),
    ],
)
def test_mount_paths_are_rewritten_as_whole_paths(text, expected):
    mounts = {"/etc/app": ROOT / "etc/app", "/etc/app/nested": Path("/elsewhere")}
    assert programs.rewrite_paths(text, mounts) == expected


def fit(program, args):
    ports = iter([20001, 20002])
    return programs.fit(
        program, args, address="127.64.8.1", bin_dir=Path("/bin"), pod_root=ROOT, free_port=lambda: next(ports)
    )


def named(known, name):
    return next(item for item in known.programs if item.name == name)


def test_listening_addresses_move_to_the_pods_own(known):
    launch = fit(named(known, "llmisvc"), ["--metrics-addr=127.0.0.1:8443", "--leader-elect"])
    assert launch.argv == [
        "/bin/llmisvc",
        "--metrics-addr=127.64.8.1:8443",
        "--health-probe-addr=127.64.8.1:8081",
        "--webhook-port=20001",
        "--leader-elect=false",
    ]
    assert launch.port_overrides == {9443: 20001}


def test_a_port_of_the_chart_is_the_one_that_is_mapped(known):
    launch = fit(named(known, "cert-manager-webhook"), ["--secure-port=10250", "--v=2"])
    assert launch.port_overrides == {10250: 20001, 6080: 20002}
    assert launch.argv[1] == "webhook"
    assert "--secure-port=20001" in launch.argv


def test_flags_the_program_does_not_know_stay(known):
    assert "--nonsense=1" in fit(named(known, "llmisvc"), ["--nonsense=1"]).argv


def test_a_flag_with_a_separate_value_is_replaced_with_it(known):
    launch = fit(named(known, "llmisvc"), ["--webhook-port", "9444", "--zap-log-level", "info"])
    assert launch.port_overrides == {9444: 20001}
    assert "9444" not in launch.argv
    assert launch.argv[1:3] == ["--zap-log-level", "info"]


def test_a_switched_off_address_stays_off():
    assert programs.rebound("0", "127.64.8.1") == "0"


def test_the_lws_configuration_is_fitted(known):
    lws = named(known, "lws")
    launch = fit(lws, ["--config=/pods/1/controller_manager_config.yaml", "--zap-log-level=2"])
    assert launch.config_source == ROOT / "controller_manager_config.yaml"
    assert f"--config={launch.config_target}" in launch.argv
    content = yaml.safe_dump({"leaderElection": {"leaderElect": True}, "metrics": {"bindAddress": ":8443"}})
    fitted = yaml.safe_load(programs.fit_config(lws.config_file, content, address="127.64.8.1", pod_root=ROOT))
    assert fitted["metrics"]["bindAddress"] == "127.64.8.1:8443"
    assert fitted["health"]["healthProbeBindAddress"] == "127.64.8.1:8081"
    assert fitted["webhook"] == {
        "host": "127.64.8.1",
        "port": 9443,
        "certDir": "/pods/1/tmp/k8s-webhook-server/serving-certs",
    }
    assert fitted["leaderElection"] == {"leaderElect": True}


def test_a_place_below_another_mount_path_is_not_rewritten_twice() -> None:
    mounts = {"/tmp": Path("/tmp/home/pods/1/tmp"), "/opt/manifests": Path("/tmp/home/pods/1/opt/manifests")}

    assert programs.rewrite_paths("/opt/manifests", mounts) == "/tmp/home/pods/1/opt/manifests"
    assert programs.rewrite_paths("/tmp/cache", mounts) == "/tmp/home/pods/1/tmp/cache"
