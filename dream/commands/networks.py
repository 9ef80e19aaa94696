"""Commands that list and download networks, and list layers and classes."""

from __future__ import annotations

import argparse

from dream.commands.options import command, option
from dream.commands.progress import download_with_progress
from dream.errors import to_printable_line
from dream.networks import catalogue
from dream.recipe import imagenet_classes
from dream.recipe.base import DEFAULT_MODEL


@command(
    "classes",
    "list the classes, or those whose name has WORD",
    option("word", metavar="WORD", nargs="?", default=""),
)
def _list_classes(args: argparse.Namespace) -> None:
    for number, name in enumerate(imagenet_classes.class_names()):
        if args.word.lower() in name.lower():
            print(f"{number:4}  {name}")


@command("models", "list the networks, and which are on disk")
def _list_models(args: argparse.Namespace) -> None:
    from dream.networks import weights

    for card in catalogue.CARDS.values():
        path = weights.find_weights(card)
        if path:
            status = f"{path.stat().st_size / 1e6:.0f} MB, on disk"
        else:
            status = f"{card.source.megabytes:.0f} MB, to fetch"
        print(f"{card.name:15}{status:18}{card.licence:14}{card.description}")


@command(
    "layers",
    "list the layers of a network",
    option("model", metavar="MODEL", nargs="?", default=DEFAULT_MODEL),
)
def _list_layers(args: argparse.Namespace) -> None:
    card = catalogue.get_card(args.model)
    for layer in card.layers:
        default = "  (default)" if layer.name == card.default_layer else ""
        print(f"{layer.name:22}{layer.alias:10}{layer.kind:12}{layer.effect}{default}")


@command("fetch", "download the weights of a network", option("model", metavar="MODEL"))
def _fetch_weights(args: argparse.Namespace) -> None:
    from dream.networks import weights

    card = catalogue.get_card(args.model)
    download_with_progress(weights.fetch_weights(card))
    print(to_printable_line(f"{card.name}: {weights.find_weights(card)}"))
