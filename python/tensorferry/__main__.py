"""``python -m tensorferry``: the command."""

import sys

from tensorferry._cli import main

if __name__ == "__main__":
    sys.exit(main())
