"""``python -m timediff``: the shell."""

from timediff.cli import main

if __name__ == "__main__":
    main()
