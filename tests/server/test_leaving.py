"""Visitors and servers that leave midway hold nothing, and the next start works."""

from __future__ import annotations

import os
import signal
import uuid
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from dream.page.blocks import upload_name
from dream.page.server.temp_files import FOLDER_PREFIX
from dream.page.widgets.visit import EXAMPLE_DREAM
from tests.conftest import EXAMPLES
from tests.support.api import page_events, upload
from tests.support.processes import find_server
from tests.support.server import run_app
from tests.support.waiting import wait_until

pytestmark = pytest.mark.filterwarnings("default")

# A server that removes files which others left after half a second.
APP_SCRIPT = (
    "from dream.page.server import temp_files; temp_files.MAX_FILE_AGE_SECONDS = 0.5;"
    "import app; app.main()"
)


def send_event(api: httpx.Client, event: Any, *data: Any, **about: Any) -> httpx.Response:
    body = {"fn_index": event["id"], "data": data, "session_hash": uuid.uuid4().hex}
    return api.post(f"/run/{event['api_name']}", json=body, **about)


def test_who_leaves_while_a_zip_is_packed_leaves_no_half_of_one(
    address: str, api: httpx.Client, app_log: Path
) -> None:
    packed = page_events(address)["zip_dreams"]
    photo = upload(api, EXAMPLE_DREAM)
    folder, name = Path(photo).parents[1], upload_name(photo)
    visit = {"shown": [name] * 3, "recipe": "", "dreams": [[name] * 3] * 12}
    before = {*folder.rglob("*.zip")}
    assert send_event(api, packed, visit).status_code == 200
    process = find_server(address)
    threads = len(os.listdir(f"/proc/{process}/task"))
    for _ in range(3):
        with pytest.raises(httpx.ReadTimeout):
            send_event(api, packed, visit, timeout=0.01)
    wait_until(lambda: len({*folder.rglob("dreams.zip")} - before) == 4)
    assert all(map(zipfile.is_zipfile, {*folder.rglob("*.zip")} - before))
    assert not list(folder.rglob(".*.part"))
    assert len(os.listdir(f"/proc/{process}/task")) <= threads + 4
    assert send_event(api, packed, visit).status_code == 200
    assert "Traceback" not in app_log.read_text()


@pytest.mark.at_scale
def test_an_app_that_was_killed_in_mid_video_starts_again_and_sweeps_what_it_left(
    tmp_path: Path,
) -> None:
    files, log = tmp_path / "files", tmp_path / "log"
    about = {"GRADIO_TEMP_DIR": str(files), "DREAM_TIME_LIMIT": "600"}
    with (
        run_app(log, **about) as address,
        httpx.Client(base_url=f"{address}/gradio_api", timeout=60) as api,
    ):
        mine = (EXAMPLES / "cat.jpg").read_bytes() + b"."  # A shipped file would survive a restart.
        photo = {"path": upload(api, ("mine.jpg", mine))}
        given = {"image": photo, "seconds": 10, "max_side": 128, "octaves": 1, "iterations": 4}
        event = api.post("/call/v2/zoom", json=given).json()["event_id"]
        process = find_server(address)
        assert process
        with pytest.raises(httpx.HTTPError), api.stream("GET", f"/call/zoom/{event}") as answers:  # noqa: PT012
            wait_until(lambda: list(files.rglob("*.parts/*")))
            os.kill(process, signal.SIGKILL)
            for _ in answers.iter_lines():
                pass
    (left,) = files.glob(f"{FOLDER_PREFIX}*")
    assert list(left.rglob("*.parts"))  # A killed process removes nothing.
    with (
        run_app(log, "-c", APP_SCRIPT, **about) as address,
        httpx.Client(base_url=f"{address}/gradio_api", timeout=60) as api,
    ):
        wait_until(lambda: not left.exists())
        open_page = page_events(address)["open_page"]
        name = upload_name(photo["path"])
        visit = {"shown": [name] * 3, "recipe": "{}", "dreams": [[name] * 3]}
        answer = send_event(api, open_page, {"photo": name}, visit, None)
        assert answer.status_code == 200
        lost = "the last dream, dreams of this visit (1), the photo"
        assert f"No longer on the server: {lost}" in answer.text
    assert "Traceback" not in log.read_text()
