"""`python -m cellflow`, as the rules call it."""

from cellflow.cli import main

if __name__ == "__main__":
    main()
