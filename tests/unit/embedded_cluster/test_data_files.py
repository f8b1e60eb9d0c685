"""The data files agree with the code and with each other."""

from pathlib import Path

import yaml
from embedded_cluster import pod_status, programs
from embedded_cluster.nodes import FLAVOURS, Flavour
from embedded_cluster.pki import CLIENTS
from embedded_cluster.programs import BINARY, STANDIN, Programs
from embedded_cluster.tools import PROGRAMS

PACKAGE = Path(programs.__file__).parent
DOCS = PACKAGE.parents[1] / "docs" / "embedded-cluster.md"


def test_every_program_has_its_binary_or_module():
    built = {program.name for program in PROGRAMS}
    for program in Programs.load().programs:
        if program.kind == STANDIN:
            assert (PACKAGE / "standins" / f"{program.module}.py").is_file(), program.name
        elif program.kind == BINARY:
            assert program.binary in built, program.name


def test_kwok_only_touches_pods_that_were_handed_over():
    stages = list(yaml.safe_load_all((PACKAGE / "stages" / "pod.yml").read_text()))
    for stage in stages:
        keys = [item["key"] for item in stage["spec"]["selector"]["matchExpressions"]]
        assert any(pod_status.SIMULATED in key for key in keys), stage["metadata"]["name"]


def test_every_flavour_can_be_read():
    for path in FLAVOURS.glob("*.yml"):
        flavour = Flavour.load(path.stem)
        assert {node["type"] for node in flavour.data["nodes"]} <= flavour.data["types"].keys()
        assert flavour.load_balancer["kind"] in ("none", "ip", "hostname")


def test_a_flavour_has_the_storage_classes_of_its_provider():
    default = "storageclass.kubernetes.io/is-default-class"
    found = {}
    for path in FLAVOURS.glob("*.yml"):
        classes = [item for item in Flavour.load(path.stem).objects() if item["kind"] == "StorageClass"]
        found[path.stem] = [item["metadata"]["name"] for item in classes if default in item["metadata"]["annotations"]]
        found[path.stem] += [item["provisioner"] for item in classes][:1]
    assert found == {
        "aws": ["kubernetes.io/aws-ebs"],
        "azure": ["default", "file.csi.azure.com"],
        "coreweave": ["csi.vastdata.com"],
        "gcp": ["standard-rwo", "pd.csi.storage.gke.io"],
        "generic": [],
        "openshift": ["openshift-storage.rbd.csi.ceph.com"],
    }


def test_rights_are_bound_to_known_users():
    users = {client.user for client in CLIENTS}
    for item in yaml.safe_load_all((PACKAGE / "bootstrap.yml").read_text()):
        for subject in item.get("subjects", []):
            assert subject["name"] in users | {"system:serviceaccounts"}


def test_the_page_names_the_commands_and_files():
    text = DOCS.read_text()
    for word in ("--keep-data", "--purge", "pod-network.json", "programs.yml", pod_status.SIMULATED):
        assert word in text
