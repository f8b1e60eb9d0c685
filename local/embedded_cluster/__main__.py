"""`python -m embedded_cluster`."""

import sys

from embedded_cluster.cli import main

if __name__ == "__main__":
    sys.exit(main())
