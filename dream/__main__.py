"""The command line: `python -m dream image PHOTO -o OUT.png`, `channel`, `class`, …."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

import torch

from dream.commands import batch, images, networks, pipe, videos
from dream.commands.options import Parser, check_output_option
from dream.commands.progress import CommandInterruptedError, discard_stdout
from dream.engine import OUT_OF_MEMORY_MESSAGE
from dream.errors import DreamError
from dream.networks.device import use_deterministic_cudnn

COMMAND_MODULES = (images, videos, pipe, batch, networks)
COMMANDS = [command for module in COMMAND_MODULES for command in module.COMMANDS]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0, 2 for bad input, 130 if interrupted, or 141 if stdout was closed."""
    args = _build_parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], None] = args.command
    use_deterministic_cudnn()
    try:
        if hasattr(args, "out"):
            check_output_option(args)
        command(args)
        if sys.stdout:  # None if it is closed.
            sys.stdout.flush()
    except BrokenPipeError:
        discard_stdout()
        return 141
    except DreamError as error:
        print(f"python -m dream: {error}", file=sys.stderr)
        return 2
    except torch.OutOfMemoryError:  # Raised outside of `Engine.render`, which has its own message.
        print(f"python -m dream: {OUT_OF_MEMORY_MESSAGE}; give a smaller image", file=sys.stderr)
        return 2
    except CommandInterruptedError:
        return 130
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    return 0


def _build_parser() -> Parser:
    parser = Parser(prog="python -m dream", description="Deep dreams of your photos.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, help_text, add_options, command in COMMANDS:
        command_parser = commands.add_parser(name, help=help_text)
        add_options(command_parser)
        command_parser.set_defaults(command=command)
    return parser


if __name__ == "__main__":
    sys.exit(main())
