"""``python -m deconvnet``."""

import sys

from deconvnet.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
