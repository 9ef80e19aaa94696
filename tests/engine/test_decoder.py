"""Strangers' files decoded in a process of their own: the same pictures, and no harm by any."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from dream import DreamError, PictureError, load_image, read_recipe
from dream.files import decoder
from dream.files.decoder import Decoder, Decoders
from dream.files.decoder_process import HEADER, NUMBERS, PIXELS
from dream.files.picture import image_size, load_thumbnail
from dream.files.video import frames_of, load_video
from tests.conftest import EXAMPLES, ROOT
from tests.support.corpus import corpus
from tests.support.processes import children_of, is_decoder
from tests.support.videos import panned, steady, turned

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere files are decoded here")
CAT, FILM = EXAMPLES / "cat.jpg", EXAMPLES / "films" / "video-cat-inception4c-seed0.mp4"


@pytest.fixture
def decoders(monkeypatch: pytest.MonkeyPatch) -> Iterator[Decoders]:
    """Those of this process, which are used and of which one is warm."""
    monkeypatch.setenv("DREAM_DECODER", "process")
    load_image(CAT)
    yield decoder._decoders(os.getpid())


def outcome(read: Callable[..., Any], *given: Any) -> Any:
    """What a reading comes to: a picture's bytes and strides, an error's line, or the value."""
    try:
        value = read(*given)
    except DreamError as error:
        return type(error), str(error)
    if isinstance(value, torch.Tensor):
        return value.numpy().tobytes(), value.shape, value.stride()
    return (value.size, value.tobytes()) if isinstance(value, Image.Image) else value


def in_both(monkeypatch: pytest.MonkeyPatch, read: Callable[..., Any], *given: Any) -> list[Any]:
    outcomes = []
    for place in ("here", "process"):
        monkeypatch.setenv("DREAM_DECODER", place)
        outcomes.append(outcome(read, *given))
    return outcomes


def test_every_file_comes_to_the_same_picture_or_line_in_either_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for made in corpus():
        path = tmp_path / made.name
        path.write_bytes(made.content)
        for read, *more in ((load_image, "black"), (load_thumbnail, 20), (read_recipe,)):
            here, process = in_both(monkeypatch, read, path, *more)
            assert here == process, made.name
        here, process = in_both(monkeypatch, lambda made=made: load_image(io.BytesIO(made.content)))
        assert here == process, made.name
    for wrong in (tmp_path, tmp_path / "none.png", "\0.png"):
        for either in (load_image, image_size, load_video):
            here, process = in_both(monkeypatch, either, wrong)
            assert here == process


def test_every_video_comes_to_the_same_frames_or_line_in_either_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upright = steady(tmp_path / "upright.mp4", panned(5))
    turned(tmp_path / "turned.mp4", upright)
    content = upright.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[: len(content) // 2])
    (tmp_path / "none.mp4").write_bytes(b"\0\0\0\x18ftyp" + bytes(99))
    steady(tmp_path / "moving.webm", panned(4))

    def frames(path: Path) -> Any:
        video = load_video(path)
        return video, [each.tobytes() for each in frames_of(video, (40, 56), 1)]

    for path in (*sorted(tmp_path.iterdir()), FILM):
        for read in (frames, read_recipe):
            here, process = in_both(monkeypatch, read, path)
            assert here == process, path.name


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_file_that_kills_its_decoder_costs_one_line(
    decoders: Decoders, number: signal.Signals
) -> None:
    process = decoders._free[-1].process
    os.kill(process.pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(load_image, CAT)
        while decoders._free:
            time.sleep(0.01)
        for each in (number, signal.SIGCONT):
            os.kill(process.pid, each)
        said = "cat.jpg cannot be read: its decoder ended early; save it as PNG and try again"
        with pytest.raises(PictureError, match=said):
            reading.result(30)
    assert process.poll() == -number
    assert load_image(CAT).shape == (1, 3, 300, 451)


def test_one_that_died_in_between_is_replaced_unseen(decoders: Decoders) -> None:
    process = decoders._free[-1].process
    process.kill()
    process.wait()
    assert load_image(CAT).shape == (1, 3, 300, 451)


def test_a_decoder_that_hangs_is_ended(decoders: Decoders, monkeypatch: pytest.MonkeyPatch) -> None:
    process = decoders._free[-1].process
    os.kill(process.pid, signal.SIGSTOP)
    monkeypatch.setattr(decoder, "SECONDS", 0.5)
    for read in (load_video, image_size):
        with pytest.raises(PictureError, match="its decoder ended early"):
            read(FILM if read is load_video else CAT)
            os.kill(decoders._free[-1].process.pid, signal.SIGSTOP)
            image_size(CAT)
    assert process.poll() == -signal.SIGKILL
    monkeypatch.undo()


def test_memory_and_processor_have_limits(
    decoders: Decoders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGBA", (5000, 4000), (9, 99, 199, 9)).save(tmp_path / "large.png", compress_level=1)
    with monkeypatch.context() as patched:
        patched.setattr(decoder, "MEMORY", 50_000_000)
        with pytest.raises(PictureError, match="large.png takes too much memory to read; shrink"):
            load_image(tmp_path / "large.png")
    process = decoders._free[-1].process
    with monkeypatch.context() as patched:
        patched.setattr(decoder, "CPU_SECONDS", -1)
        with pytest.raises(PictureError, match="its decoder ended early"):
            load_image(tmp_path / "large.png")
    assert process.poll() == -signal.SIGXCPU
    assert load_image(tmp_path / "large.png").shape == (1, 3, 4000, 5000)


# What it is like in there: each of these must be refused, by one of the kernel's two means alone,
# too.
PROBE = (
    decoder.START.replace("main; main()", "call_numbers, confine, load_readers; ")
    + """
import ctypes, fcntl, os, platform, resource, signal, socket, threading
from dream.files import decoder_process
load_readers()
path, only = sys.argv[2:4]
if only == "seccomp":
    decoder_process._restrict_files = lambda library: False
if only == "landlock":
    decoder_process._filter_calls = lambda library: False
file, parent, library = open(path), os.getppid(), ctypes.CDLL(None, use_errno=True)
self = os.pidfd_open(os.getpid())
print(*confine())
def check(call, *given):
    try:
        call(*given)
    except OSError as error:
        if isinstance(error, PermissionError):
            return
    print(call.__name__, given)
def fork():
    os.fork() or os._exit(0)
check(open, "/etc/passwd")
check(os.listdir, "/")
check(open, path + "-new", "w")
check(os.open, "/proc/self/mem", os.O_RDWR)
for call in (os.mkdir, os.mkfifo):
    check(call, path + "-new")
check(os.unlink, path)
check(os.truncate, path, 0)
check(os.rename, path, path + "-new")
check(os.symlink, path, path + "-new")
if only == "landlock":
    sys.exit()
check(os.link, path, path + "-new")
for to in (path, file.fileno()):
    check(os.chmod, to, 0o777)
    check(os.chown, to, os.getuid(), os.getgid())
    check(os.utime, to)
    check(os.setxattr, to, "user.a", b"b")
check(socket.socket)
check(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
check(os.execv, "/bin/true", ["true"])
check(fork)
check(os.posix_spawn, "/bin/true", ["true"], {})
check(os.kill, parent, 0)
check(os.killpg, os.getpgid(0), 0)
check(signal.pthread_kill, threading.get_ident(), 0)
check(signal.pidfd_send_signal, self, 0)
check(os.pidfd_open, parent)
check(fcntl.fcntl, 0, fcntl.F_SETOWN, parent)
check(fcntl.fcntl, 0, fcntl.F_SETSIG, signal.SIGKILL)
check(fcntl.ioctl, 0, 0x8901, parent.to_bytes(4, "little"))
check(resource.prlimit, parent, resource.RLIMIT_CPU, (1, 1))
check(os.setpriority, os.PRIO_PROCESS, parent, 19)
check(os.sched_setaffinity, parent, [0])
check(os.sched_setparam, parent, os.sched_param(0))
check(os.sched_setscheduler, parent, os.SCHED_OTHER, os.sched_param(0))
numbers = call_numbers(decoder_process.REFUSED_CALLS, platform.machine())
for name, number in [*numbers.items(), ("clone3", 435)]:
    library.syscall(number, *[ctypes.c_long(-1)] * 6)
    if ctypes.get_errno() != (38 if name == "clone3" else 1):
        print(name, ctypes.get_errno())
resource.setrlimit(resource.RLIMIT_CPU, (100, 100))
thread = threading.Thread(target=print, args=["a thread starts"])
thread.start()
thread.join()
"""
)


@pytest.mark.parametrize("only", ["landlock", "seccomp", "both"])
def test_a_decoder_changes_no_file_reaches_no_network_and_touches_no_process(
    only: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("a file")
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(ROOT / "dream"), str(tmp_path / "file"), only],
        cwd=ROOT,
        env={**os.environ, **decoder.THREADS},
        capture_output=True,
        text=True,
        check=True,
    )
    protections, *said = done.stdout.splitlines()
    if protections != ("landlock seccomp" if only == "both" else only):
        pytest.skip("this kernel has not both Landlock and seccomp")
    assert said == ([] if only == "landlock" else ["a thread starts"])


def test_a_decoder_knows_no_secret_and_no_torch(
    decoders: Decoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "a-secret")
    started = Decoder()
    try:
        with CAT.open("rb") as file:
            assert list(started.answers("size", file, CAT, {})) == [[300, 451]]
        about = Path(f"/proc/{started.process.pid}")
        assert b"a-secret" not in about.joinpath("environ").read_bytes()
        assert "torch" not in about.joinpath("maps").read_text()
        assert len(list(about.joinpath("task").iterdir())) == 1  # Landlock holds for a thread.
    finally:
        started.close()


def answered(*answers: bytes) -> str:
    """A decoder that says so, whatever it is asked."""
    return f"import os; os.read(0, 9); [os.write(0, each) for each in {answers}]; os.read(0, 9999)"


def numbers(*values: Any) -> list[bytes]:
    said = [json.dumps(value).encode() for value in values]
    return [HEADER.pack(NUMBERS, len(each)) + each for each in said]


@pytest.mark.parametrize(
    "answers",
    [
        [b"x" * 99],
        [HEADER.pack(PIXELS, 2**32 - 1)],
        [HEADER.pack(NUMBERS, 2) + b"{]"],
        numbers(None, [10**9, 10**9]),
        numbers(None, [-1, 1]),
        numbers(None, ["\ud800", {}]),
        numbers(None, [9, 9], [9, 9]),
        [*numbers(None, [2, 2]), HEADER.pack(PIXELS, 11) + bytes(11)],
        [*numbers(None, [2, 2]), HEADER.pack(b"e", 0)],
        [HEADER.pack(b"w", 3) + b"\xff\n\x1b"],
        [b"cposix\nsystem\n(S'touch pickled'\ntR." * 9],
    ],
)
def test_what_a_broken_decoder_says_is_not_believed(
    answers: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DREAM_DECODER", "process")
    monkeypatch.setattr(decoder, "SECONDS", 5.0)
    pool = Decoders()
    monkeypatch.setattr(decoder, "_decoders", lambda process: pool)
    monkeypatch.setattr(decoder, "START", answered(*answers))
    try:
        with pytest.raises(PictureError) as raised:
            load_image(CAT)
        assert str(raised.value).isprintable() and str(raised.value).startswith("cat.jpg cannot")
    finally:
        pool._close()


def test_two_hundred_files_leave_no_descriptor_and_no_process(decoders: Decoders) -> None:
    before, files = children_of(os.getpid()), len(os.listdir("/proc/self/fd"))
    for _ in range(100):
        load_image(CAT)
        with pytest.raises(PictureError):
            load_image(io.BytesIO(b"no picture"))
    assert len(os.listdir("/proc/self/fd")) == files
    after = children_of(os.getpid())
    assert after.keys() == before.keys() and "Z" not in after.values()


def test_a_film_has_a_decoder_of_its_own_which_ends_where_the_film_is_left(
    decoders: Decoders,
) -> None:
    frames = frames_of(load_video(FILM), (48, 64))
    next(frames)
    assert not decoders._free
    assert load_image(CAT).shape == (1, 3, 300, 451)
    (other,) = decoders._free
    frames.close()  # type: ignore[attr-defined]
    assert decoders._free == [other] and not other.process.poll()
    assert len(children_of(os.getpid())) == 1


ENDS = """
import os, signal, sys, time
from dream.files import decoder, picture
picture.load_image(sys.argv[1])
print(decoder._decoders(os.getpid())._free[0].process.pid, flush=True)
time.sleep(float(sys.argv[2]))
"""


@pytest.mark.parametrize("number", [0, signal.SIGKILL])
def test_a_decoder_ends_with_its_parent(number: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ENDS, str(CAT), "60" if number else "0"],
        cwd=ROOT,
        env={**os.environ, "DREAM_DECODER": "process"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout
        started = int(parent.stdout.readline())
        if number:
            parent.send_signal(number)
        parent.communicate(timeout=60)
    for _ in range(200):
        if not is_decoder(started):
            return
        time.sleep(0.05)
    pytest.fail("it is still there")


# While another thread decodes: that lock is never opened in the fork.
FORKED = """
import os, sys
from dream.files import decoder, picture
picture.load_image(sys.argv[1])
with picture.DECODING:
    child = os.fork()
    if not child:
        own = decoder._decoders(os.getpid())
        picture.load_image(sys.argv[1])
        before = decoder._decoders(os.getppid())._free[0]
        os._exit(own._free[0].process.pid == before.process.pid or before.process.poll() == -9)
_, status = os.waitpid(child, 0)
picture.load_image(sys.argv[1])
sys.exit(status)
"""


def test_a_fork_has_decoders_of_its_own_and_waits_for_no_lock_of_its_parent() -> None:
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED, str(CAT)],
        cwd=ROOT,
        env={**os.environ, "DREAM_DECODER": "process"},
        check=True,
        timeout=100,
    )


def test_the_variable_names_one_of_two_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DREAM_DECODER", "elsewhere\x1b")
    with pytest.raises(DreamError, match=r"DREAM_DECODER is here or process, not 'elsewhere\\x1b'"):
        load_image(CAT)


def test_a_decoder_that_cannot_start_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DREAM_DECODER", "process")
    pool = Decoders()
    monkeypatch.setattr(decoder, "_decoders", lambda process: pool)
    monkeypatch.setattr(socket, "socketpair", lambda: (_ for _ in ()).throw(OSError("no files")))
    with pytest.raises(PictureError, match="its decoder ended early"):
        load_image(CAT)
