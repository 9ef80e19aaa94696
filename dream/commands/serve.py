"""The command `serve`, which starts the app."""

from __future__ import annotations

import argparse
import os

from dream.commands.options import command, option, parse_number
from dream.recipe.knob import Knob

PORT_KNOB = Knob("Port to listen on.", 1, 65535, value_type=int)


@command(
    "serve",
    "start the app on this machine",
    option(
        "--host",
        metavar="ADDRESS",
        help="address to listen on; 0.0.0.0 for other machines too. Default: GRADIO_SERVER_NAME, "
        "or 127.0.0.1.",
    ),
    option(
        "--port",
        metavar="1..65535",
        type=parse_number,
        help="port to listen on. Default: GRADIO_SERVER_PORT, or the first free one from 7860.",
    ),
)
def _serve_app(args: argparse.Namespace) -> None:
    if args.port is not None:
        os.environ["GRADIO_SERVER_PORT"] = str(PORT_KNOB.check("port", args.port))
    if args.host is not None:
        os.environ["GRADIO_SERVER_NAME"] = args.host
    from dream.page import app  # Gradio reads the variables when it is imported.

    app.main()
