"""`python -m ftkit`."""

from ftkit.cli import main

if __name__ == "__main__":
    main()
