"""The reference page of what is checked about the settings of an inventory, by codes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from inference_platform.inventory import downloads, mirror, pull_secret
from inference_platform.problems import MISSING, NOT_ALLOWED, RENAMED, UNKNOWN_KEY, WRONG_TYPE

Table = Callable[[tuple[str, ...], Sequence[tuple[str, ...]]], str]

TITLE = "Rules of the inventory"
INTRODUCTION = (
    "What is checked about the settings of an inventory before a cluster is touched. A finding names file and line, "
    "what was expected, what was found and what to do. The settings themselves are in [inventory](inventory.md), rules "
    "of models (IP-MOD, IP-SCH) in [model rules](model-rules.md), checks of the cluster (IP-PRE) in "
    "[preflight](preflight.md), those of capacity (IP-CAP) in [capacity](../capacity.md)."
)

#: Code -> what holds when there is no finding.
RULES = {
    UNKNOWN_KEY: "The key is one that the schema knows; in values of a chart of this project, that of the chart.",
    RENAMED: "The key has its present name.",
    WRONG_TYPE: "The value is of the kind that the key takes.",
    NOT_ALLOWED: "The value is one that the key takes.",
    MISSING: "A key that is needed is there.",
    "IP-INV-006": "A file is YAML with each key once, and one of a model holds one model.",
    "IP-INV-007": "Ansible can resolve every template in a variable.",
    "IP-INV-008": "A name in `models_move` means a model of the inventory.",
    "IP-INV-009": "Ansible can decrypt every encrypted value.",
    pull_secret.MISSING: "There is a pull secret where the distribution needs one.",
    pull_secret.UNREADABLE: "The pull secret file can be read.",
    pull_secret.MALFORMED: "The pull secret file is JSON with `auths`.",
    pull_secret.NO_CREDENTIALS: "The pull secret has credentials for the registry, or for the mirror if there is one.",
    pull_secret.TWO_PLACES: "The pull secret comes from a file or from a Secret of the cluster, not from both.",
    pull_secret.CONTENT_AS_PATH: "The pull secret file is named by its path; its content stands neither there nor in "
    "`REGISTRY_AUTH_FILE`.",
    downloads.WRONG_URL: "A mirror is named by a URL of a kind that it can be asked with, without user and password.",
    downloads.NO_FOLDER: "`crd_directory` is a folder.",
    mirror.KEPT_IMAGES: "With a registry of your own, every image has it in its reference (warning).",
    mirror.FETCHED_WEIGHTS: "With a registry of your own, weights come from an image or a claim (warning).",
    "IP-INV-020": "A variable of a role has a value of its type.",
    "IP-INV-021": "Values for charts are for a release of the layer, and for nothing that the plan decides.",
    "IP-INV-027": "Files of models are in the folder `models` and end in `.yml`, `.yaml` or `.json` (warning).",
    "IP-PLT-001": "`platform_release` is a release of the catalogue.",
    "IP-PLT-002": "`distribution` is one of the catalogue.",
    "IP-PLT-003": "`provider` is one of the catalogue.",
    "IP-PLT-004": "The release has the distribution.",
    "IP-PLT-005": "The release runs on the provider.",
    "IP-PLT-006": "The owner of a dependency is possible with release, provider and cloud manager.",
    "IP-PLT-007": "`gateway_load_balancer` is one that the provider has.",
    "IP-PLT-008": "`platform_image_registry` is empty where operators name the images.",
    "IP-PLT-009": "`olm_operators` is only for providers whose operators come from OLM.",
    "IP-PLT-010": "Beside `gateway.external` nothing is said about listeners, load balancers or the chart.",
    "IP-PLT-011": "`gateway.external` is not the platform's own Gateway.",
    "IP-PLT-012": "The gateway has a listener.",
    "IP-PLT-013": "`gateway.http.redirect` has both listeners.",
    "IP-PLT-014": "The listeners have different ports.",
    "IP-PLT-039": "The listeners have no port that the gateway's proxy uses itself.",
    "IP-PLT-015": "An HTTPS listener has host names.",
    "IP-PLT-016": "The certificate of the gateway comes from a Secret or from an issuer, not from both.",
    "IP-PLT-017": "`certificate_authority.issuer` is only for plans in which this installer makes the authority.",
    "IP-PLT-018": "Nothing but `gateway.external` is said where the provider makes listener and certificate.",
    "IP-PLT-019": "Settings of HTTPS have `gateway.https.enabled`.",
    "IP-PLT-020": "Names of `node_pools` are there once.",
    "IP-PLT-021": "A namespace is in `namespace_quotas` once.",
    "IP-PLT-022": "No profile has the name of a pool.",
    "IP-PLT-023": "`capacity` of a pool is one that nodes of the provider have a label for.",
    "IP-PLT-024": "`preempts` of a pool has a `priority`.",
    "IP-PLT-025": "`namespace_quotas` are for namespaces of models.",
    "IP-PLT-026": "`chart_sha256` names published charts that the plan installs.",
    "IP-PLT-027": "`namespace_quotas` leave room for the models of the inventory (warning).",
    "IP-PLT-028": "`pull_secret_from` is only for providers on which a pull secret is made.",
    downloads.TWO_SOURCES: "CRD files come from `crd_directory` or from `platform_crd_mirror`, not from both.",
    "IP-PLT-030": "`certificate_authority.issuer` is not the issuer that signs with this authority.",
    "IP-PLT-031": "`ownership_adopt` names nothing that `ownership` leaves to somebody else.",
    "IP-PLT-034": "Values for charts are for a release that the plan installs (warning).",
    "IP-PLT-035": "Names in `hard` of `namespace_quotas` are such as Kubernetes counts.",
    "IP-PLT-036": "`namespace_quotas` limit devices that models ask for, or forbid them (warning).",
    "IP-PLT-037": "`namespace_quotas` are for namespaces with a model, if the inventory has models (warning).",
    "IP-PLT-038": "A `csv` in `olm_operators` is a version of its operator, named as the release's is.",
}


def body(table: Table) -> str:
    """The table of the page."""
    return table(("code", "what holds"), [(f"`{code}`", text) for code, text in sorted(RULES.items())])
