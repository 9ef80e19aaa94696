"""Random nonsense, the same each time: files, recipes, and bodies for every event of the page.

Each is read, or refused in one line.
"""

from __future__ import annotations

import io
import json
import random
import string
import time
import uuid
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import httpx

from dream import load_image
from dream.files.decoder_process import read_file
from dream.files.embedded_text import RECIPE_KEY
from dream.files.image import image_size, load_thumbnail
from dream.recipe import ChannelRecipe, ClassRecipe, DreamRecipe, Recipe
from dream.recipe.knob import knobs
from dream.tensors import check_image
from tests.support.api import JSON
from tests.support.corpus import corpus
from tests.support.trial import Trial

RECIPE_TYPES = (DreamRecipe, ChannelRecipe, ClassRecipe)
KNOB_NAMES = sorted({name for kind in RECIPE_TYPES for name in knobs(kind)} | {"kind", "deepdream"})
NUMBER_KNOBS = ["octaves", "intensity", "iterations", "seed", "step", "jitter", "feather", "pull"]
WORDS = ["inception3b", "dreamlet", "goldfish", "channels", "nan", "1e39", ":", ",", ">", "-", "\0"]
LETTERS = string.printable + "\0\x7f\x85äß喵\u2028\u202e\ufeff\U0001f600"
ODD_VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 99, 2**31, 2**63, 10**400, 0.5, -0.0, 1e39),
    *(float("nan"), float("inf"), -float("inf")),
    *("", " ", "\0", "\ud800", "a\udfffb", "\x1b[31m\n", "x" * 20_000),
    *("dreamlet", "3,7", "goldfish"),
    *("../../etc/passwd", "/etc/passwd", f"{'0' * 32}/dream.png", "<img src=x onerror=alert(1)>"),
    *('{"iterations": 1}', '{"deepdream": 1, "kind": []}', "inception4c", "__class__"),
    *([], [[]], [1], [-1, 10**9], ["a", None], [None] * 300, {}, {"a": {}}, {"": []}),
    *({"path": "/etc/passwd"}, {"path": None}, {"url": "x"}, {"path": ["x"]}, {"image": {}}),
    *({"__type__": "update"}, {"value": 1}, {"shown": [1], "dreams": [[]], "recipe": 1}),
    *({"model": [], "layer": {}, "channels": 3, "selected": "x"}, {"url": "data:image/jpeg;,x"}),
    *({"background": {}, "layers": [0], "composite": 1}, {"video": {"path": 1}}),
]
INDICES: list[Any] = [0, 1, [3, 5], -1, 99, 10**9, [1], [[1]], [10**400, 0], "0", None, 1.5]
# Small enough to be dreamed where a body is valid by chance.
SMALL = {"Iterations": 1, "Octaves": 1, "Max side, pixels": 64, "Steps": 1, "Size, pixels": 64}
TIMEOUT_SECONDS = 30.0


@lru_cache
def seed_files() -> list[bytes]:
    """Return small files of the corpus: their content matters, not their size."""
    return [each.content for each in corpus() if 0 < len(each.content) < 20_000]


def random_file(rng: random.Random) -> bytes:
    """Return a file of the corpus with bytes changed, removed, doubled or inserted."""
    content = bytearray(rng.choice(seed_files()))
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(content) + 1)
        part = content[at : at + rng.choice([1, 2, 4, 16, 300])]
        size = len(part)
        new = [rng.randbytes(size), b"", b"\xff" * size, bytes(size), bytes(part * 2)]
        content[at : at + size] = rng.choice(new)
    return bytes(content)


def random_text(rng: random.Random) -> str:
    if rng.random() < 0.5:
        return "".join(rng.choices(WORDS, k=rng.randrange(10)))
    return "".join(rng.choices(LETTERS, k=rng.randrange(41)))


def random_value(rng: random.Random) -> Any:
    return rng.choice([*ODD_VALUES, *[random_text(rng)] * 9, *[rng.randint(-9, 99)] * 9])


def random_recipe(rng: random.Random) -> str | bytes:
    """Return a recipe's text: bytes, any JSON, knobs with any values, or a recipe cut apart."""
    way = rng.randrange(5)
    if way == 0:
        return rng.randbytes(rng.randrange(61))
    if way == 1:
        return json.dumps(random_value(rng))
    if way == 2:
        names = rng.sample(KNOB_NAMES, rng.randrange(7))
        return json.dumps({name: random_value(rng) for name in names})
    if way == 3:
        names = rng.sample(NUMBER_KNOBS, rng.randrange(4))
        return json.dumps(
            {name: rng.choice([rng.randint(-1, 3), 2 * rng.random()]) for name in names}
        )
    text = rng.choice(RECIPE_TYPES)().to_json()
    at = rng.randrange(len(text) + 1)
    return text[:at] + rng.choice(["", random_text(rng)]) + text[at + rng.randrange(31) :]


def _repeat(cases: int, case: Callable[[Trial, random.Random], None]) -> Trial:
    trial, rng = Trial(), random.Random(0)
    for _ in range(cases):
        case(trial, rng)
    return trial


def fuzz_files(cases: int) -> Trial:
    """Read random files through every loader."""

    def read(trial: Trial, rng: random.Random) -> None:
        content = random_file(rng)
        trial.count(lambda: check_image(load_image(io.BytesIO(content))))
        Trial().count(lambda: image_size(io.BytesIO(content)))
        Trial().count(lambda: load_thumbnail(io.BytesIO(content), 16))
        options = {"key": RECIPE_KEY}
        Trial().count(lambda: [*read_file("text", io.BytesIO(content), "file", options)])

    return _repeat(cases, read)


def fuzz_recipes(cases: int) -> Trial:
    """Read random recipes; an accepted one must survive writing and reading again."""

    def read(trial: Trial, rng: random.Random) -> None:
        text = random_recipe(rng)

        def again() -> None:
            recipe = Recipe.from_json(text)
            assert Recipe.from_json(recipe.to_json()) == recipe

        trial.count(again)

    return _repeat(cases, read)


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value] if depth % 2 else {"a": value}
    return value


class _Sender:
    """Sends a page's events random variants of the bodies that a browser would send."""

    def __init__(self, address: str, seed: int) -> None:
        self.random = random.Random(seed)
        self.api = httpx.Client(base_url=f"{address}/gradio_api", timeout=TIMEOUT_SECONDS)
        config = httpx.get(f"{address}/config").json()
        self.events = [each for each in config["dependencies"] if each["backend_fn"]]
        self.values = {
            each["id"]: SMALL.get(each["props"].get("label"), each["props"].get("value"))
            for each in config["components"]
        }
        self.turn = 0

    def odd_value(self) -> Any:
        return self.random.choice([*ODD_VALUES, _nested(self.random.randrange(60))])

    def body(self, event: Any) -> dict[str, Any]:
        """Return the body that the browser would send, with some of it changed."""
        choose = self.random
        data: Any = [
            self.odd_value() if choose.random() < 0.3 else self.values.get(each)
            for each in event["inputs"]
        ]
        match choose.randrange(12):
            case 0:
                data = data[: choose.randrange(len(data) + 1)]
            case 1:
                data += [self.odd_value()] * choose.randrange(4)
            case 2:
                data = self.odd_value()
        index = choose.choice([*INDICES, self.odd_value()])
        chosen = choose.choice(
            [{"index": index, "value": self.odd_value()}, {"index": index}, self.odd_value()]
        )
        body = {
            "data": data,
            "event_data": chosen,
            "fn_index": event["id"],
            "trigger_id": choose.choice(event["targets"] or [[None]])[0],
            "session_hash": uuid.uuid4().hex if choose.random() < 0.5 else "one",
        }
        for name in (*list(body)[2:], "event_id", "batched", "simple_format"):
            if choose.random() < 0.03:
                body[name] = self.odd_value()
        return body

    def send(self) -> bool:
        """Send the next event a body; return whether it was answered, not refused in one line.

        Raises:
            AssertionError: The event neither answered nor refused.
        """
        event = self.events[self.turn % len(self.events)]
        self.turn += 1
        body = self.body(event)
        content = json.dumps(body).replace("Infinity", "1e400")
        if not event["queue"] and self.random.random() < 0.8:
            answer = self.api.post(f"/run/{event['api_name']}", content=content, headers=JSON)
            return _check_answer(answer)
        answer = self.api.post("/queue/join", content=content, headers=JSON)
        return _check_answer(answer) and self._wait_for_result(
            body["session_hash"], answer.json()["event_id"]
        )

    def _wait_for_result(self, session: Any, event: str) -> bool:
        until = time.monotonic() + TIMEOUT_SECONDS
        with self.api.stream("GET", "/queue/data", params={"session_hash": session}) as lines:
            for line in lines.iter_lines():
                assert time.monotonic() < until, "it has no end"
                if "process_streaming" in line:  # The camera's, which lasts as long as frames come.
                    return True
                if "process_completed" in line and event in line:
                    message = json.loads(line.removeprefix("data: "))
                    if not message["success"]:
                        _check_line(message["output"]["error"])
                    return bool(message["success"])
        raise AssertionError("the answer broke off")


def _check_answer(answer: httpx.Response) -> bool:
    said = answer.json()
    if answer.status_code == 200:
        return True
    if "error" in said:
        _check_line(said["error"])
        return False
    detail = said["detail"]
    _check_line(detail if isinstance(detail, str) else detail[0]["message"])
    assert answer.status_code in (400, 404, 413, 422, 429, 503), answer.status_code
    return False


def _check_line(said: Any) -> None:
    assert isinstance(said, str) and said.isprintable() and 0 < len(said) <= 1000, f"says {said!r}"


def fuzz_events(address: str, count: int, seed: int) -> Trial:
    """Send `count` random bodies to the events of a page in turn, the same for the same seed.

    The page best has a `DREAM_TIME_LIMIT` of a second or two: a body that is valid by chance is
    dreamed.
    """
    sender, trial = _Sender(address, seed), Trial()
    with sender.api:
        for number in range(count):
            event, start = sender.events[number % len(sender.events)], time.perf_counter()
            try:
                if sender.send():
                    trial.fine += 1
                else:
                    trial.refused += 1
            except (AssertionError, httpx.HTTPError, ValueError, KeyError, TypeError) as error:
                wrong = f"{event['api_name']}: {type(error).__name__}: {error}"
                trial.wrong.append(f"case {number} of seed {seed}, {wrong}"[:400])
            trial.add_seconds(time.perf_counter() - start)
    return trial
