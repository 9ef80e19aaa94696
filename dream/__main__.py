"""The command line: `dream image PHOTO -o OUT.png`, `channel`, `class`, …."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from dream import __version__
from dream.commands import batch, images, networks, pipe, serve, videos
from dream.commands.options import Command, Parser, check_file_options, program_name
from dream.commands.progress import CommandInterruptedError, discard_stdout
from dream.errors import DreamError

MODULES = (images, videos, pipe, batch, networks, serve)
COMMANDS = [
    each for module in MODULES for each in vars(module).values() if isinstance(each, Command)
]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0, 2 for bad input, 130 if interrupted, or 141 if stdout was closed."""
    args = _build_parser().parse_args(arguments)
    args.start = time.perf_counter()
    try:
        check_file_options(args)
        args.run(args)
        if sys.stdout:  # None if it is closed.
            sys.stdout.flush()
    except BrokenPipeError:
        discard_stdout()
        return 141
    except DreamError as error:
        print(f"{program_name()}: {error}", file=sys.stderr)
        return 2
    except CommandInterruptedError:
        return 130
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    except RuntimeError as error:  # `Engine.render` has its own message.
        import torch

        from dream.engine import OUT_OF_MEMORY_MESSAGE

        if not isinstance(error, torch.OutOfMemoryError):
            raise
        print(f"{program_name()}: {OUT_OF_MEMORY_MESSAGE}; give a smaller image", file=sys.stderr)
        return 2
    return 0


def _build_parser() -> Parser:
    parser = Parser(prog=program_name(), description="Deep dreams of your photos.")
    parser.add_argument("--version", action="version", version=f"dream {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command_parser = commands.add_parser(command.name, help=command.help)
        for add_option in command.options:
            add_option(command_parser)
        command_parser.set_defaults(run=command.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
