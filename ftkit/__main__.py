"""`ftkit` and `python -m ftkit`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit."""
    try:
        from ftkit import cli
    except KeyboardInterrupt:  # the command line handles those that come later
        print("ftkit: interrupted", file=sys.stderr)
        sys.exit(130)
    cli.main()


if __name__ == "__main__":
    main()
