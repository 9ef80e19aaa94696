"""Compare two recipes by blind pairs of pictures, and count what judges said.

    python -m tools.pairs make "" "intensity=3,octaves=5" photos -o pairs --seed 1
    python -m tools.pairs table verdicts.csv pairs-key.json

A side is a recipe (a JSON file, JSON text, or `knob=value,...`, with `preset=NAME` to start from;
nothing is the default), or a folder of ready pictures named as the photos. A judge sees the
folder OUT alone and writes a CSV with the columns pair, question and verdict (left, right or tie),
and judge where there are several. Only OUT-key.json, beside the folder, says which side is left.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import random
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from dream import DreamRecipe, Engine, load_image, read_recipe
from dream.errors import DreamError
from dream.files.contact_sheet import draw_contact_sheet
from dream.files.image import load_thumbnail
from dream.files.image_formats import IMAGE_FORMATS
from dream.recipe.knob import knobs
from dream.recipe.presets import preset
from dream.tensors import to_pil_image
from tools.measure import last_frame
from tools.report import markdown_table

PAIRS_PER_SHEET = 3
MAX_SHEET_BYTES = 300_000
VERDICTS = ("left", "right", "tie")
NORMAL_QUANTILE = 1.959964  # Of 0.975, for an interval of 95 %.


def read_side(text: str) -> DreamRecipe | Path:
    """Return the recipe that an argument gives, or its folder of ready pictures."""
    if text.lstrip().startswith("{"):
        return DreamRecipe.from_json(text)
    if text and Path(text).is_dir():
        return Path(text)
    if text and Path(text).is_file():
        return read_recipe(text, DreamRecipe)
    known, given = knobs(DreamRecipe), dict[str, Any]()
    # Layers have commas too, so only a comma before "name=" separates knobs.
    for part in re.split(r",\s*(?=\w+=)", text) if text else ():
        name, equals, value = part.partition("=")
        if not equals:
            raise DreamError(f"{text}: no file, no folder and no knob=value")
        try:
            is_text = name not in known or known[name].value_type is str
            given[name] = value if is_text else json.loads(value)
        except ValueError:
            given[name] = value
    start = preset(given.pop("preset")) if "preset" in given else DreamRecipe()
    DreamRecipe.from_dict(given)  # It refuses unknown knobs.
    return start.with_changes(**given)


def list_photos(folder: Path) -> list[Path]:
    """Return the photos of a folder by name."""
    photos = sorted(each for each in folder.iterdir() if each.suffix.lower() in IMAGE_FORMATS)
    if not photos:
        raise DreamError(f"{folder}: no photos")
    return photos


def make_picture(
    engine: Engine, side: DreamRecipe | Path, photo: Path, max_side: int
) -> Image.Image:
    """Dream a photo, or load its ready picture, at up to `max_side` pixels."""
    if isinstance(side, DreamRecipe):
        frames = engine.dream(load_image(photo), side.with_max_side(max_side))
        return last_frame(frames).picture()
    ready = [each for each in list_photos(side) if each.stem == photo.stem]
    if len(ready) != 1:
        raise DreamError(f"{side}: {len(ready)} pictures named {photo.stem}, not one")
    picture = to_pil_image(load_image(ready[0]))
    picture.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    return picture


def draw_sides(count: int, seed: int) -> list[str]:
    """Draw the side, "A" or "B", that is left in each pair; each is left in half of them."""
    sides = ["A", "B"] * math.ceil(count / 2)
    random.Random(seed).shuffle(sides)
    return sides[:count]


def save_sheet(path: Path, pairs: Sequence[tuple[str, Image.Image]]) -> None:
    """Write rows of photo, left and right as PNG, or as JPEG of up to `MAX_SHEET_BYTES`."""
    sheet = draw_contact_sheet(pairs, 3)
    if path.suffix == ".png":
        sheet.save(path)
        return
    for quality in range(92, 8, -6):
        file = io.BytesIO()
        sheet.save(file, "JPEG", quality=quality)
        if file.tell() <= MAX_SHEET_BYTES:
            break
    path.write_bytes(file.getvalue())


def make_pairs(args: argparse.Namespace) -> None:
    """Write the sheets and each picture as a file into a folder, and the key beside it."""
    sides = {"A": read_side(args.a), "B": read_side(args.b)}
    photos = list_photos(args.photos)
    engine, cells, key = Engine(), [], {}
    args.out.mkdir(parents=True, exist_ok=True)
    for index, left in enumerate(draw_sides(len(photos), args.seed)):
        photo, pair = photos[index], str(args.first + index)
        small = load_thumbnail(photo, args.max_side // 2)
        cells.append((f"Pair {pair}: photo", small))
        for place, side in (("left", left), ("right", "AB".replace(left, ""))):
            picture = make_picture(engine, sides[side], photo, args.max_side)
            # Without the recipe in its metadata, which would tell the side.
            picture.save(args.out / f"{pair}-{place}.png")
            cells.append((f"Pair {pair}: {place}", picture))
        key[pair] = {"photo": photo.name, "left": left}
        if len(cells) == 3 * PAIRS_PER_SHEET or index == len(photos) - 1:
            save_sheet(args.out / f"sheet-to-{pair}.{'png' if args.png else 'jpg'}", cells)
            cells = []
        print(f"pair {pair}: {photo.name}", flush=True)
    about = {
        name: side.to_dict() if isinstance(side, DreamRecipe) else str(side)
        for name, side in sides.items()
    }
    key_text = json.dumps({"seed": args.seed, **about, "pairs": key}, indent=1)
    Path(f"{args.out.resolve()}-key.json").write_text(key_text + "\n")


def read_keys(paths: Sequence[Path]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the sides A and B of keys, and the side that is left in each pair of them all."""
    lefts: dict[str, str] = {}
    sides: dict[str, Any] = {}
    for path in paths:
        try:
            key = json.loads(path.read_text())
            pairs = {pair: each["left"] for pair, each in key["pairs"].items()}
            found = {side: key[side] for side in "AB"}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DreamError(f"{path}: not a key of pairs") from error
        if sides and found != sides:
            raise DreamError(f"{path}: has other recipes than {paths[0]}")
        if double := lefts.keys() & pairs:
            raise DreamError(f"{path}: pair {min(double)} is in another key too; use make --first")
        sides, lefts = found, lefts | pairs
    return sides, lefts


def count_verdicts(path: Path, lefts: dict[str, str]) -> tuple[dict[str, Counter[str]], int]:
    """Return how often A, B and tie were said, by question, and the number of judges."""
    counts: dict[str, Counter[str]] = {}
    seen: set[tuple[str, str, str]] = set()
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file, skipinitialspace=True)
        if missing := {"pair", "question", "verdict"} - set(rows.fieldnames or ()):
            raise DreamError(f"{path}: no column {min(missing)}")
        for row in rows:
            where = f"{path}, line {rows.line_num}"
            pair, question, verdict, judge = (
                (row.get(name) or "").strip() for name in ("pair", "question", "verdict", "judge")
            )
            if pair not in lefts:
                raise DreamError(f"{where}: pair {pair!r} is in no key")
            if verdict not in VERDICTS:
                raise DreamError(f"{where}: {verdict!r} is none of {', '.join(VERDICTS)}")
            if (judge, pair, question) in seen:
                raise DreamError(f"{where}: pair {pair} has a verdict on {question!r} already")
            seen.add((judge, pair, question))
            is_a = (verdict == "left") == (lefts[pair] == "A")
            winner = "tie" if verdict == "tie" else "A" if is_a else "B"
            counts.setdefault(question, Counter())[winner] += 1
    return counts, len({judge for judge, *_ in seen})


def wilson_interval(wins: int, losses: int) -> tuple[float, float]:
    """Return the 95 % interval of the share of wins, from 0 to 1 (Wilson 1927)."""
    count, square = wins + losses, NORMAL_QUANTILE**2
    middle = (wins + square / 2) / (count + square)
    half = NORMAL_QUANTILE / (count + square) * math.sqrt(wins * losses / count + square / 4)
    return middle - half, middle + half


def sign_test(wins: int, losses: int) -> float:
    """Return the two-sided p of so uneven a result if both sides were equally good."""
    count, more = wins + losses, max(wins, losses)
    tail = sum(math.comb(count, each) for each in range(more, count + 1))
    return min(1.0, 2 * tail / 2**count)


def print_table(args: argparse.Namespace) -> None:
    """Print wins by question as Markdown."""
    sides, lefts = read_keys(args.keys)
    rows = []
    counts_by_question, judge_count = count_verdicts(args.verdicts, lefts)
    for question, counts in counts_by_question.items():
        wins, losses, share, p = counts["A"], counts["B"], "none decided", ""
        if wins + losses:
            low, high = wilson_interval(wins, losses)
            share = f"{wins / (wins + losses):.0%} ({low:.0%} to {high:.0%})"
            p = f"{sign_test(wins, losses):.2g}"
        row = {"question": question, "A wins": wins, "B wins": losses, "ties": counts["tie"]}
        rows.append({**row, "share of A (95 %)": share, "p": p})
    for name, other in ("AB", "BA"):
        side, same = sides[name], sides[other]
        if isinstance(side, dict) and isinstance(same, dict):
            side = {knob: value for knob, value in side.items() if same.get(knob) != value}
        print(f"{name}: {json.dumps(side)}\n")
    print(f"{markdown_table(rows)}\n")
    note = (
        "Shares are of decided verdicts, with Wilson's 95 % interval; p is a two-sided sign test's."
    )
    if judge_count > 1:
        note += (
            f" Both count the verdicts of {judge_count} judges on one pair as independent, which "
            "they are not: intervals are too narrow and p is too small."
        )
    print(note)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0, or 2 for bad input."""
    parser = argparse.ArgumentParser(prog="python -m tools.pairs", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    make = commands.add_parser("make", help="write sheets of pairs and their key")
    make.add_argument("a", metavar="A", help="a recipe, or a folder of pictures")
    make.add_argument("b", metavar="B", help="the other")
    make.add_argument("photos", metavar="PHOTOS", type=Path, help="a folder of photos")
    make.add_argument(
        "-o", "--out", required=True, type=Path, help="the folder to write; the key is OUT-key.json"
    )
    make.add_argument("--seed", type=int, default=0, help="draws what is left")
    make.add_argument("--max-side", type=int, default=448, help="pixels of a picture")
    make.add_argument("--first", type=int, default=1, help="number of the first pair")
    make.add_argument("--png", action="store_true", help="write sheets as PNG, of any size")
    make.set_defaults(run=make_pairs)
    count = commands.add_parser("table", help="count verdicts by question")
    count.add_argument("verdicts", metavar="VERDICTS", type=Path, help="CSV: pair,question,verdict")
    count.add_argument(
        "keys", metavar="KEY", type=Path, nargs="+", help="OUT-key.json of the pairs"
    )
    count.set_defaults(run=print_table)
    args = parser.parse_args(arguments)
    try:
        args.run(args)
    except (DreamError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
