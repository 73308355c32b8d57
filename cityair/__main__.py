"""The command line as ``python -m cityair``."""

from flows.cli import main

if __name__ == "__main__":
    main()
