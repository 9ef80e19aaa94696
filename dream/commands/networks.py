"""Commands that list and download networks, and list layers and classes."""

from __future__ import annotations

import argparse

from dream.commands.options import Command
from dream.commands.progress import download_with_progress
from dream.errors import to_printable_line
from dream.networks import catalogue, weights
from dream.recipe import imagenet_classes
from dream.recipe.base import DEFAULT_MODEL


def _classes_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("word", metavar="WORD", nargs="?", default="")


def _classes(args: argparse.Namespace) -> None:
    for number, name in enumerate(imagenet_classes.class_names()):
        if args.word.lower() in name.lower():
            print(f"{number:4}  {name}")


def _no_options(parser: argparse.ArgumentParser) -> None:
    pass


def _models(args: argparse.Namespace) -> None:
    for card in catalogue.CARDS.values():
        path = weights.find_weights(card)
        if path:
            status = f"{path.stat().st_size / 1e6:.0f} MB, on disk"
        else:
            status = f"{card.source.megabytes:.0f} MB, to fetch"
        print(f"{card.name:15}{status:18}{card.licence:14}{card.description}")


def _layers_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", nargs="?", default=DEFAULT_MODEL)


def _layers(args: argparse.Namespace) -> None:
    card = catalogue.get_card(args.model)
    for layer in card.layers:
        default = "  (default)" if layer.name == card.default_layer else ""
        print(f"{layer.name:22}{layer.alias:10}{layer.kind:12}{layer.effect}{default}")


def _fetch_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL")


def _fetch(args: argparse.Namespace) -> None:
    card = catalogue.get_card(args.model)
    download_with_progress(weights.fetch_weights(card))
    print(to_printable_line(f"{card.name}: {weights.find_weights(card)}"))


COMMANDS: tuple[Command, ...] = (
    ("classes", "list the classes, or those whose name has WORD", _classes_options, _classes),
    ("models", "list the networks, and which are on disk", _no_options, _models),
    ("layers", "list the layers of a network", _layers_options, _layers),
    ("fetch", "download the weights of a network", _fetch_options, _fetch),
)
