"""Commands that tell of networks and of the classes that they know."""

from __future__ import annotations

import argparse

from dream.commands.options import Command
from dream.commands.told import fetching
from dream.errors import printable
from dream.networks import catalogue, weights
from dream.recipe import classes
from dream.recipe.recipe import MODEL


def _classes_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("word", metavar="WORD", nargs="?", default="")


def _classes(given: argparse.Namespace) -> None:
    for number, name in enumerate(classes.names()):
        if given.word.lower() in name.lower():
            print(f"{number:4}  {name}")


def _no_options(parser: argparse.ArgumentParser) -> None:
    pass


def _models(given: argparse.Namespace) -> None:
    for card in catalogue.CARDS.values():
        path = weights.find(card)
        if path:
            here = f"{path.stat().st_size / 1e6:.0f} MB, here"
        else:
            here = f"{card.source.megabytes:.0f} MB, to fetch"
        print(f"{card.name:15}{here:18}{card.licence:14}{card.about}")


def _layers_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", nargs="?", default=MODEL)


def _layers(given: argparse.Namespace) -> None:
    card = catalogue.card(given.model)
    for layer in card.layers:
        default = "  (default)" if layer.name == card.default_layer else ""
        print(f"{layer.name:22}{layer.alias:10}{layer.kind:12}{layer.brings}{default}")


def _fetch_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL")


def _fetch(given: argparse.Namespace) -> None:
    card = catalogue.card(given.model)
    fetching(weights.fetch(card))
    print(printable(f"{card.name}: {weights.find(card)}"))


COMMANDS: tuple[Command, ...] = (
    ("classes", "list the classes, all or those with a word", _classes_options, _classes),
    ("models", "list the networks, and which are here already", _no_options, _models),
    ("layers", "list the layers of a network", _layers_options, _layers),
    ("fetch", "download the weights of a network ahead of time", _fetch_options, _fetch),
)
