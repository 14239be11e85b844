"""`python -m train.single`, the former name of `python -m train.photo`."""

import sys

from .photo import main

if __name__ == "__main__":
    sys.exit(main())
