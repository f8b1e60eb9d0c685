"""What an inventory with a mirror still fetches from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from inference_platform.findings import Finding
from inference_platform.mirror.needs import Needs
from inference_platform.problems import Reporter

SETTING = "platform_image_registry"
KEPT_IMAGES = "IP-INV-015"
FETCHED_WEIGHTS = "IP-INV-016"
#: Names that a finding shows.
SHOWN = 3


def check_mirror(needs: Needs, report: Reporter) -> Iterator[Finding]:
    """At most one warning for images that keep their registry, and one for weights, at the setting of the mirror.

    Warnings, since nodes may know the mirror, and pods may reach the sources of weights.
    """
    kept = [image for image in needs.images if not image.rewritten]
    if kept:
        registries = {image.source.partition("/")[0] for image in kept}
        users = {user for image in kept for user in image.used_by}
        yield report.warning(
            KEPT_IMAGES,
            (SETTING,),
            "every image with the mirror in its reference",
            f"{len(kept)} images of {_some(registries)}, which the cloud manager or charts of others name, for "
            f"{_some(users)}",
            "Send the nodes to the mirror, with certs.d/ (containerd) or registries.conf (CRI-O) of "
            "playbooks/mirror.yml; docs/air-gap.md. Nothing to do where they know it.",
        )
    if needs.data:
        yield report.warning(
            FETCHED_WEIGHTS,
            (SETTING,),
            "weights from an image (oci://) or a claim (pvc://)",
            f"{_some([item.uri for item in needs.data])}, which the pods fetch from there",
            "Put them into an image or on a claim. Nothing to do where pods reach the source, or a mirror of it.",
        )


def _some(names: Iterable[str]) -> str:
    """The first of the names in order, and how many more there are."""
    ordered = sorted(names)
    more = len(ordered) - SHOWN
    return ", ".join(ordered[:SHOWN]) + (f" and {more} more" if more > 0 else "")
