"""`loom` and `python -m loom_shell`."""

from loom_shell.cli.main import main

if __name__ == "__main__":
    main()
