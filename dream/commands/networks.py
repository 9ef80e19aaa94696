"""Commands that list and download networks, and list layers and classes."""

from __future__ import annotations

import argparse

from dream.commands.options import Command
from dream.commands.progress import download_with_progress
from dream.errors import to_printable_line
from dream.networks import catalogue, weights
from dream.recipe import imagenet_classes
from dream.recipe.base import DEFAULT_MODEL


def _add_word_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("word", metavar="WORD", nargs="?", default="")


def _run_classes(args: argparse.Namespace) -> None:
    for number, name in enumerate(imagenet_classes.class_names()):
        if args.word.lower() in name.lower():
            print(f"{number:4}  {name}")


def _add_no_options(parser: argparse.ArgumentParser) -> None:
    pass


def _run_models(args: argparse.Namespace) -> None:
    for card in catalogue.CARDS.values():
        path = weights.find_weights(card)
        if path:
            status = f"{path.stat().st_size / 1e6:.0f} MB, on disk"
        else:
            status = f"{card.source.megabytes:.0f} MB, to fetch"
        print(f"{card.name:15}{status:18}{card.licence:14}{card.description}")


def _add_layers_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", nargs="?", default=DEFAULT_MODEL)


def _run_layers(args: argparse.Namespace) -> None:
    card = catalogue.get_card(args.model)
    for layer in card.layers:
        default = "  (default)" if layer.name == card.default_layer else ""
        print(f"{layer.name:22}{layer.alias:10}{layer.kind:12}{layer.effect}{default}")


def _add_fetch_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL")


def _run_fetch(args: argparse.Namespace) -> None:
    card = catalogue.get_card(args.model)
    download_with_progress(weights.fetch_weights(card))
    print(to_printable_line(f"{card.name}: {weights.find_weights(card)}"))


COMMANDS: tuple[Command, ...] = (
    ("classes", "list the classes, or those whose name has WORD", _add_word_option, _run_classes),
    ("models", "list the networks, and which are on disk", _add_no_options, _run_models),
    ("layers", "list the layers of a network", _add_layers_options, _run_layers),
    ("fetch", "download the weights of a network", _add_fetch_options, _run_fetch),
)
