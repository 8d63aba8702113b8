"""Where `loom` begins: a hook is answered before the command line, with all it imports, is there."""

import sys


def main() -> None:
    # Asked for help, the command line answers, as for any other command.
    if sys.argv[1:2] == ["hook"] and not {"--help", "-h"} & set(sys.argv[2:]):
        from loom_shell import hook  # noqa: PLC0415

        hook.main()
    from loom_shell.cli.main import main as command_line  # noqa: PLC0415

    command_line()
