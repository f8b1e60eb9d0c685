"""`make bench`: one table, and build/bench.json with the same figures."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from benchmarks import install, models, namespaces, requests
from benchmarks.measurement import Measurement, table

REPOSITORY = Path(__file__).resolve().parent.parent
#: What can be measured, in this order.
PARTS: dict[str, Callable[..., list[Measurement]]] = {
    "install": install.measure,
    "namespaces": namespaces.measure,
    "models": models.measure,
    "requests": requests.measure,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{' or '.join(PARTS)} (default: all)")
    parser.add_argument("--rounds", type=int, default=2, help="rounds of each pair; the median counts (default 2)")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.parts if name not in PARTS]
    if unknown:
        parser.error(f"expected {' or '.join(PARTS)}, found {', '.join(unknown)}")

    measurements: list[Measurement] = []
    for name in arguments.parts or PARTS:
        measurements += PARTS[name](REPOSITORY, rounds=arguments.rounds, say=print)

    output = REPOSITORY / "build" / "bench.json"
    output.parent.mkdir(exist_ok=True)
    output.write_text(json.dumps([asdict(measurement) for measurement in measurements], indent=2) + "\n")
    print()
    print(table(measurements))
    print(f"\nWritten to {output.relative_to(REPOSITORY)}")
    return 0 if all(measurement.ok for measurement in measurements) else 1


if __name__ == "__main__":
    sys.exit(main())
