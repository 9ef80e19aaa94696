"""Strangers cannot read the server's files, fill its memory or hold its only worker."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import time
import types
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from PIL import Image

from dream import DreamError
from dream.page import blocks
from dream.page.blocks import MAX_FILE_AGE_SECONDS, NOT_UPLOADED_MESSAGE
from dream.page.server import middleware, temp_files
from dream.page.widgets import components
from tests.conftest import EXAMPLES
from tests.support.api import begin, call, refusal, upload
from tests.support.attacks import call_in_crowd
from tests.support.corpus import corpus
from tests.support.processes import children_of, find_listener, is_decoder, resident_mb, state_of
from tests.support.server import run_app
from tests.support.trial import api_reader, try_files
from tests.support.videos import pan, write_video
from tests.support.waiting import wait_until

NOTHING: dict[str, Any] = {"octaves": 1, "iterations": 0, "max_side": 64}
MOVING = ("/zoom", "/dream_video", "/making_of")
# The fields that take an image or a video, by endpoint.
FIELDS = [
    *(("deep_dream", name) for name in ("image", "guide", "mask")),
    *(("compare", name) for name in ("image", "guide", "mask")),
    ("visualize_channel", "image"),
    ("top_channels", "image"),
    ("class_image", "image"),
    ("zoom", "image"),
    ("dream_video", "video"),
    ("making_of", "image"),
]

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def cat(api: httpx.Client) -> dict[str, str]:
    """Upload a photo."""
    return {"path": upload(api, EXAMPLES / "cat.jpg")}


@pytest.fixture(scope="module")
def film(api: httpx.Client, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Upload a video."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    return {"path": upload(api, write_video(path, pan(2)))}


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return paths on the server: an image, a folder, a pipe, and a missing file."""
    folder = tmp_path_factory.mktemp("secret")
    Image.new("RGB", (64, 64), "red").save(folder / "picture.png")
    os.mkfifo(folder / "pipe")
    relative = os.path.relpath(folder / "picture.png")
    there = [folder / "picture.png", folder, folder / "pipe", folder / "nothing.png", relative]
    return [*map(str, there), "examples/cat.jpg", "/etc/passwd", "\0", "/proc/self/environ"]


@pytest.mark.parametrize(("name", "field"), FIELDS)
def test_no_file_of_the_server_is_read_and_whether_it_is_there_is_not_told(
    name: str, field: str, api: httpx.Client, cat: dict[str, str], secrets: list[str]
) -> None:
    marked = {"path": secrets[0], "meta": {"_type": "gradio.FileData"}}
    linked = {"path": secrets[0], "url": "https://example.com/cat.jpg"}
    # All other parameters are valid.
    good = {"image": cat, **({"layers": "conv2,conv3"} if name == "compare" else {})}
    for file in (*({"path": secret} for secret in secrets), marked, linked):
        given = {field: file} if field == "video" else good | {field: file}
        assert refusal(api, name, given) == NOT_UPLOADED_MESSAGE, file


def test_no_private_event_reads_a_file_of_the_server(address: str, secrets: list[str]) -> None:
    config = httpx.get(f"{address}/config").json()
    takes = {each["id"]: each["type"] for each in config["components"]}
    shown = {each["id"]: each["props"].get("value") for each in config["components"]}
    # Queued calls are checked before their files; here all but the files is valid.
    shown |= {
        each["id"]: "2, 3"
        for each in config["components"]
        if each["props"].get("label") == "intensities"
    }
    files = {"image", "imageslider", "imageeditor", "gallery", "downloadbutton"}
    secret = {"path": secrets[0]}
    shapes: dict[str, Any] = {
        "imageslider": [secret, secret],
        "gallery": [{"image": secret, "caption": None}],
        "imageeditor": {"background": secret, "layers": [secret], "composite": secret},
    }
    tried = 0
    with httpx.Client(base_url=f"{address}/gradio_api", timeout=60) as api:
        for event in config["dependencies"]:
            kinds = [takes[each] for each in event["inputs"]]
            if not event["backend_fn"] or not files & set(kinds):
                continue
            data = [
                shapes.get(takes[each], secret) if takes[each] in files else shown[each]
                for each in event["inputs"]
            ]
            sent = {"fn_index": event["id"], "data": data, "session_hash": f"s{event['id']}"}
            joined = api.post("/queue/join", json=sent)
            assert joined.status_code == 200
            with api.stream(
                "GET", "/queue/data", params={"session_hash": sent["session_hash"]}
            ) as stream:
                said = next(line for line in stream.iter_lines() if "process_completed" in line)
            assert NOT_UPLOADED_MESSAGE in said, event["api_name"]
            tried += 1
    assert tried >= 15


def test_what_a_browser_keeps_of_a_visit_names_no_file_but_uploads(
    address: str, api: httpx.Client, cat: dict[str, str], secrets: list[str], app_log: Path
) -> None:
    config = httpx.get(f"{address}/config").json()
    kinds = {each["id"]: each["type"] for each in config["components"]}
    events = [
        (each["id"], each["targets"][0][0], [kinds[name] for name in each["inputs"]])
        for each in config["dependencies"]
        if each["backend_fn"] and "browserstate" in [kinds[name] for name in each["inputs"]]
    ]
    assert len(events) == 12
    gone = f"{'0' * 32}/none.png"
    mine = blocks.upload_name(cat["path"])  # Neither a dream of this page nor a preview of one.
    names: list[Any] = [*secrets, gone, mine, None, {}, [[]]]
    for name in names:
        kept = {"shown": [gone if name == mine else name] * 3, "dreams": [[name] * 3]}
        kept |= {"recipe": '{"octaves": 99}', "photo": name, "guide": name, "layer": {}}
        for event, target, inputs in events:
            if any(kind not in ("browserstate", "image", "slider") for kind in inputs):
                continue  # The device would make these wait.
            given = {"browserstate": kept, "image": cat, "slider": 40}
            sent = {"fn_index": event, "data": [given[kind] for kind in inputs]}
            about = {"session_hash": "forged", "event_data": {"index": 0, "value": None}}
            about["trigger_id"] = target
            answer = api.post("/run/predict", json=sent | about)
            assert answer.status_code == 200, answer.text
            assert not any(secret in answer.text for secret in secrets)
            assert "dreams.zip" not in answer.text
    assert "Traceback" not in app_log.read_text()


def test_a_page_from_before_a_restart_finds_what_is_here_by_its_content(
    api: httpx.Client, cat: dict[str, str]
) -> None:
    before = f"/tmp/dream-visitors-before/files/{blocks.upload_name(cat['path'])}"
    other = before.replace(before.split("/")[-2], "0" * 64)
    assert refusal(api, "deep_dream", {"image": {"path": other}}) == blocks.FILE_GONE_MESSAGE
    # The image is fine, so the next fault is reported.
    said = refusal(api, "deep_dream", {"image": {"path": before}, "octaves": 99})
    assert "octaves must be" in said


def test_a_link_out_of_the_folder_of_uploads_leads_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret.png").write_bytes(b"")
    uploads = tmp_path / "uploads"
    (uploads / "folder").mkdir(parents=True)
    (uploads / "mine.png").write_bytes(b"")
    (uploads / "link.png").symlink_to(tmp_path / "secret.png")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(uploads))
    assert blocks.is_uploaded(str(uploads / "mine.png"))
    for path in ("link.png", "folder", "../secret.png", "none.png", ""):
        assert not blocks.is_uploaded(str(uploads / path)), path


def test_every_wrong_type_is_answered_in_one_line_that_names_the_field(
    api: httpx.Client, address: str, cat: dict[str, str], film: dict[str, str]
) -> None:
    wrong = ["abc", float("nan"), [], {}, float("inf"), True, -1, [[[1]]], "1" * 100, 1e300]
    endpoints = {
        path: [each["parameter_name"] for each in about["parameters"]]
        for path, about in api.get("/info").json()["named_endpoints"].items()
    }
    tried = 0
    for path, names in endpoints.items():
        small = NOTHING | {"steps": 0, "size": 64, "count": 1, "tries": 1, "image": cat}
        if path in MOVING:
            small |= {"iterations": 1, "seconds": 0.5, "fps": 4, "video": film}
        base = {name: small[name] for name in names if name in small}
        shared = endpoints["/deep_dream"] if path in ("/compare", "/making_of") else []
        for name in [each for each in names if each not in shared]:
            value = wrong[tried % len(wrong)]
            tried += 1
            good, said = call(api, path[1:], base | {name: value})
            if good:
                assert value in (True, "1" * 100, "abc", -1), (path, name, value)
                continue
            assert said["error"] and "\n" not in said["error"], (path, name, value)
            words = (name.rstrip("s"), {"target": "class"}.get(name, "a contact sheet compares"))
            assert any(word in said["error"] for word in words), (path, name, said)
    assert tried > 80


@pytest.mark.parametrize(
    ("name", "given", "status", "message"),
    [
        ("deep_dream", {}, 422, "No value provided for required argument: image"),
        ("deep_dream", {"image": None, "oktaves": 3}, 422, "`oktaves` is not a valid"),
        ("dream", {}, 404, "there is no endpoint /dream"),
    ],
)
def test_a_call_that_does_not_fit_is_no_fault_of_the_server(
    name: str, given: Any, status: int, message: str, api: httpx.Client
) -> None:
    answer = api.post(f"/call/v2/{name}", json=given)
    assert answer.status_code == status
    assert message in answer.json()["detail"][0]["message"]


def test_calls_leave_nothing_in_memory(api: httpx.Client, address: str) -> None:
    port = int(address.rpartition(":")[2])
    process = find_listener(port)
    if process is None:
        pytest.skip("no /proc to read a process's memory from")

    def after(calls: int) -> float:
        for _ in range(calls):
            refusal(api, "top_channels", {"image": None, "layer": "x" * 100_000})
        return resident_mb(process)

    before = after(30)
    # 100 kB a call and more, if each were kept.
    assert after(40) - before < 10


def test_a_busy_server_ends_at_once_and_takes_the_photos_along(tmp_path: Path) -> None:
    def decoders() -> list[int]:
        return [each for each in children_of(process) if is_decoder(each)]

    with run_app(tmp_path / "log", GRADIO_TEMP_DIR=str(tmp_path / "temp")) as address:
        process = find_listener(int(address.rpartition(":")[2])) or 0
        with httpx.Client(base_url=f"{address}/gradio_api", timeout=60) as api:
            photo = upload(api, EXAMPLES / "cat.jpg")
            started = decoders()
            for each in started:  # As a hostile file might; the next call works.
                os.kill(each, signal.SIGSEGV)
            begin(api, "deep_dream", {"image": {"path": photo}, "octaves": 8, "iterations": 60})
        assert Path(photo).is_relative_to(tmp_path / "temp") and Path(photo).is_file()
        wait_until(decoders)
        started += decoders()
        time.sleep(0.5)
        os.kill(process, signal.SIGTERM)  # As Ctrl-C.
        wait_until(lambda: state_of(process) in ("", "Z"), seconds=4)
    # Processes that are still starting end, since they are not needed.
    wait_until(lambda: not any(map(is_decoder, started)))
    assert not list((tmp_path / "temp").glob(f"{temp_files.FOLDER_PREFIX}*"))
    log = (tmp_path / "log").read_text()
    assert "terminate called" not in log and "Traceback" not in log


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("deep_dream", {"octaves": 99}, "octaves must be a whole number from 1 to 10, not 99"),
    ("deep_dream", {"guide": ..., "objective": "norm"}, "with guide set, objective must be"),
    ("compare", {"layers": "inception4c", "intensities": "5"}, "a contact sheet compares 2 to 36"),
    ("visualize_channel", {"channels": "4096"}, "inception4c has channels 0 to 319"),
    ("top_channels", {"x": 5}, "a spot needs both x and y"),
    ("class_image", {"target": "goldfish", "steps": -1}, "steps must be a whole number"),
]


def test_what_is_wrong_is_said_before_it_waits_in_line(
    api: httpx.Client, cat: dict[str, str]
) -> None:
    long = {"image": cat, "octaves": 8, "iterations": 100}
    held, after = (f"/call/deep_dream/{begin(api, 'deep_dream', long)}" for _ in range(2))
    with api.stream("GET", held) as dream, api.stream("GET", after) as next_one:
        events, others = (
            (line for line in each.iter_lines() if line.startswith("event: "))
            for each in (dream, next_one)
        )
        assert "generating" in next(events) and "generating" in next(others)
        for name, given, message in WRONG:
            given = {key: cat if each is ... else each for key, each in given.items()}
            assert refusal(api, name, {"image": cat, **given}).startswith(message)
        assert call(api, "presets", {})[0]  # It waits for no dream.
        assert "generating" in next(events)


@pytest.mark.at_scale
def test_a_crowd_is_served_each_its_own_while_the_page_answers_others(address: str) -> None:
    came = call_in_crowd(address, 50)
    assert came.answered + came.full == 50 and came.answered >= 20, came
    assert came.slow_look < 3  # Half a second on an idle machine, by `make soak`.


def test_who_leaves_in_the_midst_of_a_dream_frees_the_line(
    api: httpx.Client, cat: dict[str, str]
) -> None:
    long = begin(api, "deep_dream", {"image": cat, "octaves": 8, "iterations": 40})
    with api.stream("GET", f"/call/deep_dream/{long}") as dream:
        next(line for line in dream.iter_lines() if line == "event: generating")
    start = time.monotonic()
    assert call(api, "deep_dream", {"image": cat, **NOTHING})[0]
    assert time.monotonic() - start < 4  # The whole other one takes ten times as long.


@pytest.mark.at_scale
def test_hostile_files_are_dreamed_or_refused_in_a_line(api: httpx.Client, address: str) -> None:
    process = find_listener(int(address.rpartition(":")[2])) or "self"
    trial = try_files(corpus()[3::30], api_reader(api), process, least=32)
    assert not trial.wrong and trial.fine and trial.refused


NOISE = "NOISE\n\x1b[2J\u202e"


def test_neither_what_strangers_say_nor_whose_photo_it_is_comes_out_again(
    api: httpx.Client, app_log: Path
) -> None:
    start = app_log.stat().st_size
    (photo,) = (made.content for made in corpus() if made.name == "laden-gps.jpg")
    path = upload(api, (f"secret{NOISE}.jpg", photo))
    event = begin(api, "deep_dream", {"image": {"path": path}, "octaves": 1, "iterations": 3})
    answers = api.get(f"/call/deep_dream/{event}").text
    shown = [json.loads(line[6:])[0]["path"] for line in answers.splitlines() if "path" in line]
    assert len(shown) >= 2
    for each in map(Path, shown):
        assert re.fullmatch(r"[\w.+-]+", each.name)
        with Image.open(each) as image:
            assert not image.getexif() and "exif" not in image.info
        assert not any(word in each.read_bytes() for word in (b"GPS", b"A camera", b"Exif"))
    for name in ("layer", "channels", "model", "rule"):
        assert refusal(api, "deep_dream", {"image": {"path": path}, name: NOISE}).isprintable()
    for body in ({"data": [NOISE], "fn_index": 10**9}, {"data": [{"path": NOISE}]}, [NOISE]):
        for route in ("/queue/join", f"/call/{quote(NOISE)}", f"/run/{quote(NOISE)}", "/cancel"):
            given = body | {"session_hash": NOISE} if isinstance(body, dict) else body
            answer = api.post(route, json=given)
            assert answer.status_code != 500 or NOISE not in answer.text, route
    said = app_log.read_bytes()[start:].decode()
    assert not any(word in said for word in ("NOISE", "secret", "\x1b", "Traceback")), said


def test_no_upload_is_taken_where_the_disk_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    full = types.SimpleNamespace(free=blocks.MAX_UPLOAD_BYTES)
    monkeypatch.setattr("dream.page.server.request_bodies.shutil.disk_usage", lambda _: full)
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    scope = {"type": "http", "method": "POST", "path": "/gradio_api/upload"}
    asyncio.run(middleware.RequestLimits(None, None)(scope, None, send))  # type: ignore[arg-type]
    assert said[0]["status"] == 507 and b"disk is full; try again" in said[1]["body"]


def test_an_error_of_ours_behind_the_checks_is_no_refusal() -> None:
    async def broken_app(scope: Any, receive: Any, send: Any) -> None:
        raise DreamError("a fault of ours")

    limits = middleware.RequestLimits(broken_app, None)  # type: ignore[arg-type]
    scope = {"type": "http", "method": "GET", "path": "/config", "query_string": b"", "headers": []}
    with pytest.raises(DreamError, match="a fault of ours"):
        asyncio.run(limits(scope, None, None))


def test_files_of_visitors_go_after_a_day_and_with_their_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, left = (tmp_path / f"{temp_files.FOLDER_PREFIX}{name}" for name in ("mine", "left"))
    for each in (folder / "files" / "a", left / "files"):
        each.mkdir(parents=True)
        (each / "photo.jpg").write_bytes(b"photo")
    (folder / "shown.jpg").write_bytes(b"of the page")
    keep = {folder / "shown.jpg"}
    (tmp_path / "of others").write_bytes(b"")
    temp_files.remove_old_files(folder, keep)
    assert (folder / "files" / "a" / "photo.jpg").exists() and left.exists()
    later = time.time() + MAX_FILE_AGE_SECONDS + 60
    assert f"within {MAX_FILE_AGE_SECONDS / 3600:g} hours" in components.privacy_line("").value
    monkeypatch.setattr(time, "time", lambda: later)
    temp_files.remove_old_files(folder, keep)
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted(
        ["of others", "shown.jpg", folder.name]
    )


def test_of_the_files_of_visitors_the_latest_are_kept_and_no_more_than_there_is_room_for(
    tmp_path: Path,
) -> None:
    folder = tmp_path / f"{temp_files.FOLDER_PREFIX}mine"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.png").write_bytes(bytes(1000))
        time.sleep(0.01)
    temp_files.remove_old_files(folder, {folder / "0.png"}, max_bytes=3500)
    assert sorted(path.name for path in folder.iterdir()) == ["0.png", "3.png", "4.png", "5.png"]
