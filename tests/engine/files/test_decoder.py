"""Strangers' files are decoded in a subprocess: the same images, and no harm by hostile files."""

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dream import DreamError, PictureError, load_image, read_recipe
from dream.files import decoder, video_container
from dream.files.decoder import Decoder, DecoderPool, read_in_decoder, start_decoder
from dream.files.decoder_process import HEADER, JSON_VALUE, PIXELS
from dream.files.image import DECODE_LOCK, image_size, load_thumbnail
from dream.files.video_info import VideoInfo
from dream.files.video_reader import read_frames, read_video_info
from tests.conftest import EXAMPLES, ROOT
from tests.support.corpus import corpus
from tests.support.processes import children_of, is_decoder, run_python
from tests.support.videos import pan, set_matrix, write_video
from tests.support.waiting import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere files are decoded here")
CAT, FILM = EXAMPLES / "cat.jpg", EXAMPLES / "films" / "video-cat-inception4c-seed0.mp4"


@pytest.fixture
def decoders(monkeypatch: pytest.MonkeyPatch) -> DecoderPool:
    """Turn this process's decoders on and return them, one of them warm."""
    monkeypatch.setenv("DREAM_DECODER", "process")
    load_image(CAT)
    return decoder._decoder_pool(os.getpid())


def result_or_error(read: Callable[..., Any], *given: Any) -> Any:
    """Return a picture's bytes and strides, an error's type and line, or the value."""
    try:
        value = read(*given)
    except DreamError as error:
        return type(error), str(error)
    if isinstance(value, torch.Tensor):
        return value.numpy().tobytes(), value.shape, value.stride()
    return (value.size, value.tobytes()) if isinstance(value, Image.Image) else value


def read_in_both(
    monkeypatch: pytest.MonkeyPatch, read: Callable[..., Any], *given: Any
) -> list[Any]:
    outcomes = []
    for place in ("here", "process"):
        monkeypatch.setenv("DREAM_DECODER", place)
        outcomes.append(result_or_error(read, *given))
    return outcomes


def test_every_file_comes_to_the_same_picture_or_line_in_either_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, made in enumerate(corpus()):
        path = tmp_path / made.name
        path.write_bytes(made.content)
        reads: list[tuple[Any, ...]] = [(load_image, path, "black")]
        if number % 3 == 0:
            reads += [(load_thumbnail, path, 20), (read_recipe, path)]
            reads += [(lambda content: load_image(io.BytesIO(content)), made.content)]
        for read, *given in reads:
            here, process = read_in_both(monkeypatch, read, *given)
            assert here == process, made.name
    for wrong in (tmp_path, tmp_path / "none.png", "\0.png"):
        for either in (load_image, image_size, read_video_info):
            here, process = read_in_both(monkeypatch, either, wrong)
            assert here == process


def test_every_video_comes_to_the_same_frames_or_line_in_either_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upright = write_video(tmp_path / "upright.mp4", pan(5))
    set_matrix(tmp_path / "turned.mp4", upright)
    content = upright.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[: len(content) // 2])
    (tmp_path / "none.mp4").write_bytes(b"\0\0\0\x18ftyp" + bytes(99))
    write_video(tmp_path / "moving.webm", pan(4))

    def frames(path: Path) -> Any:
        video = read_video_info(path)
        return video, [each.tobytes() for each in read_frames(video, (40, 56), 1)]

    for path in (*sorted(tmp_path.iterdir()), FILM):
        for read in (frames, read_recipe):
            here, process = read_in_both(monkeypatch, read, path)
            assert here == process, path.name


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_file_that_kills_its_decoder_costs_one_line(
    decoders: DecoderPool, number: signal.Signals, caplog: pytest.LogCaptureFixture
) -> None:
    process = decoders._free_decoders[-1].process
    os.kill(process.pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(load_image, CAT)
        wait_until(lambda: not decoders._free_decoders)
        for each in (number, signal.SIGCONT):
            os.kill(process.pid, each)
        said = "cat.jpg cannot be read: its decoder ended early; save it as PNG and try again"
        with pytest.raises(PictureError, match=said):
            reading.result(30)
    assert process.poll() == -number
    logged = [record.getMessage() for record in caplog.records]
    assert logged == [f"The decoder for pixels ended early (return code {-number})"]
    assert load_image(CAT).shape == (1, 3, 300, 451)


def test_one_that_died_in_between_is_replaced_unseen(decoders: DecoderPool) -> None:
    process = decoders._free_decoders[-1].process
    process.kill()
    process.wait()
    assert load_image(CAT).shape == (1, 3, 300, 451)


def test_a_decoder_that_hangs_is_ended(
    decoders: DecoderPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = decoders._free_decoders[-1].process
    os.kill(process.pid, signal.SIGSTOP)
    monkeypatch.setattr(decoder, "MAX_ANSWER_SECONDS", 0.5)
    with pytest.raises(PictureError, match=r"takes too long to read; save it as H.264 and"):
        read_video_info(FILM)
    with pytest.raises(PictureError, match="takes too long to read; save it as PNG and"):  # noqa: PT012
        image_size(CAT)  # Where the new decoder starts within the limit.
        os.kill(decoders._free_decoders[-1].process.pid, signal.SIGSTOP)
        image_size(CAT)
    assert process.poll() == -signal.SIGKILL
    monkeypatch.undo()


def test_memory_and_processor_have_limits(
    decoders: DecoderPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGBA", (5000, 4000), (9, 99, 199, 9)).save(tmp_path / "large.png", compress_level=1)
    with monkeypatch.context() as patched:
        patched.setattr(decoder, "IMAGE_MEMORY_BYTES", 50_000_000)
        with pytest.raises(PictureError, match=r"large.png takes too much memory to read; shrink"):
            load_image(tmp_path / "large.png")
    process = decoders._free_decoders[-1].process
    with monkeypatch.context() as patched:
        patched.setattr(decoder, "MAX_CPU_SECONDS", -1)
        with pytest.raises(PictureError, match=r"large.png takes too long to read; save it as PNG"):
            load_image(tmp_path / "large.png")
    assert process.poll() == -signal.SIGXCPU
    assert load_image(tmp_path / "large.png").shape == (1, 3, 4000, 5000)


# Each of these must be refused in the decoder, even by one of the kernel's two mechanisms alone.
PROBE_SCRIPT = """
import ctypes, fcntl, os, platform, resource, signal, socket, sys, threading
from dream.files import decoder_process
from dream.files.decoder_process import call_numbers, confine, load_readers
load_readers()
path, only = sys.argv[1:]
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


@pytest.mark.parametrize("only", ["landlock", "seccomp", "both"])
def test_a_decoder_changes_no_file_reaches_no_network_and_touches_no_process(
    only: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("a file")
    environment = os.environ | decoder.THREAD_VARIABLES
    done = run_python("-c", PROBE_SCRIPT, str(tmp_path / "file"), only, env=environment)
    assert not done.returncode, done.stderr
    protections, *said = done.stdout.splitlines()
    if protections != ("landlock seccomp" if only == "both" else only):
        pytest.skip("this kernel has not both Landlock and seccomp")
    assert said == ([] if only == "landlock" else ["a thread starts"])


def test_a_decoder_knows_no_secret_and_no_torch_but_its_parents_packages(
    decoders: DecoderPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "a-secret")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path), "relative"])
    started = Decoder()
    try:
        with CAT.open("rb") as file:
            assert list(started.read_answers("size", file, CAT, {})) == [[300, 451]]
        about = Path(f"/proc/{started.process.pid}")
        environment = about.joinpath("environ").read_bytes().split(b"\0")
        assert b"HF_TOKEN=a-secret" not in environment
        (folders,) = (each for each in environment if each.startswith(b"PYTHONPATH="))
        assert folders.endswith(f":{tmp_path}:{ROOT}".encode())  # Not "relative".
        assert "torch" not in about.joinpath("maps").read_text()
        assert len(list(about.joinpath("task").iterdir())) == 1  # Landlock applies per thread.
    finally:
        started.close()


def number_messages(*values: Any) -> list[bytes]:
    said = [json.dumps(value).encode() for value in values]
    return [HEADER.pack(JSON_VALUE, len(each)) + each for each in said]


def answering_script(*answers: bytes, protections: Sequence[str] = ("seccomp",)) -> str:
    """Return the script of a decoder that sends these answers to any request."""
    (start,) = number_messages(protections)
    return (
        f"import os; os.write(0, {start!r}); os.read(0, 9);"
        f"[os.write(0, each) for each in {answers}]\nwhile os.read(0, 9999): pass"
    )


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[DecoderPool]:
    """Turn this process's decoders on; none has started yet."""
    monkeypatch.setenv("DREAM_DECODER", "process")
    pool = DecoderPool()
    monkeypatch.setattr(decoder, "_decoder_pool", lambda process: pool)
    yield pool
    pool._close()


@pytest.mark.parametrize(
    "answers",
    [
        [b"x" * 99],
        [HEADER.pack(PIXELS, 2**32 - 1)],
        [HEADER.pack(JSON_VALUE, 2) + b"{]"],
        [HEADER.pack(JSON_VALUE, 8_000_001)],
        [HEADER.pack(b"e", 0)],
        number_messages(None, [10**9, 10**9]),
        number_messages(None, [-1, 1]),
        number_messages(None, [float("inf"), 1]),
        number_messages(None, ["\ud800", {}]),
        number_messages(None, [9, 9], [9, 9]),
        number_messages(None, [2, 2], [[[1, 1, 1], [1, 1, 1]], [[1, 1, 1], [1, 1, 1]]]),
        [*number_messages(None, [2, 2]), HEADER.pack(PIXELS, 11) + bytes(11)],
        [*number_messages(None, [2, 2]), HEADER.pack(b"e", 0)],
        [HEADER.pack(b"w", 3) + b"\xff\n\x1b"],
        [b"cposix\nsystem\n(S'touch pickled'\ntR." * 9],
    ],
)
def test_what_a_broken_decoder_says_is_not_believed(
    answers: list[bytes],
    pool: DecoderPool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(decoder, "MAX_ANSWER_SECONDS", 5.0)
    monkeypatch.setattr(decoder, "START_CODE", answering_script(*answers))
    with pytest.raises(PictureError, match=r"^cat.jpg cannot be read: its decoder ended early; "):
        load_image(CAT)
    (record,) = caplog.records
    said = r"The decoder for pixels (sent an invalid answer \(|ended ).*\(return code (0|-9)\)"
    assert re.fullmatch(said, record.getMessage())


def test_an_answer_far_too_deep_is_not_believed(
    pool: DecoderPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = HEADER.pack(JSON_VALUE, 100_000) + b"[" * 100_000
    monkeypatch.setattr(decoder, "START_CODE", answering_script(deep))
    with pytest.raises(DreamError, match="its decoder ended early"):
        read_recipe(FILM)


def test_an_error_of_this_program_is_no_damage_of_the_file(decoders: DecoderPool) -> None:
    for error in (ValueError("ours"), KeyError("ours"), OSError("ours")):
        with pytest.raises(type(error), match="ours"), read_in_decoder("size", CAT):
            raise error
    assert image_size(CAT) == (300, 451)


def test_a_decoder_that_never_answered_is_not_started_again(
    pool: DecoderPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoder, "START_CODE", "raise SystemExit")
    with pytest.raises(PictureError, match="its decoder ended early"):
        load_image(CAT)
    assert not pool._free_decoders


@pytest.mark.parametrize("protections", [[], ["seccomp"]])
def test_a_kernel_that_confines_nothing_is_warned_of_once(
    protections: list[str],
    pool: DecoderPool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    decoder._warn_unprotected.cache_clear()
    answers = [*number_messages([300, 451]), HEADER.pack(b"e", 0)]
    monkeypatch.setattr(decoder, "START_CODE", answering_script(*answers, protections=protections))
    for _ in range(2):
        assert image_size(CAT) == (300, 451)
        pool._close()
    warned = ["neither Landlock nor seccomp" in each.getMessage() for each in caplog.records]
    assert warned == ([] if protections else [True])


def test_what_a_decoder_starts_ends_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "START_CODE", "import os, time; os.fork(); time.sleep(60)")
    started = Decoder()
    while not (forked := children_of(started.process.pid)):
        time.sleep(0.01)
    started.close()
    time.sleep(0.1)
    for each in forked:  # It has ended, or is a zombie.
        path = Path(f"/proc/{each}/cmdline")
        assert not path.exists() or not path.read_bytes()


def test_slow_pictures_keep_no_header_waiting_and_others_not_for_ever(
    decoders: DecoderPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoder, "MAX_WAIT_SECONDS", 0.1)
    said = "cat.jpg was not read: other files take too long; try again in a minute"
    with DECODE_LOCK, pytest.raises(PictureError, match=said):
        load_image(CAT)
    with ExitStack() as slow:
        for _ in range(decoder.MAX_DECODERS):
            slow.enter_context(decoders._pixel_slots)
        assert image_size(CAT) == (300, 451)
        with pytest.raises(PictureError, match=said):
            load_thumbnail(CAT, 64)
    assert load_thumbnail(CAT, 64).size == (64, 42)


@pytest.mark.parametrize("place", ["here", "process"])
def test_too_little_memory_for_the_picture_is_one_line(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def empty(shape: tuple[int, ...], kind: Any) -> Any:
        if kind == np.float32:
            raise MemoryError
        return np.zeros(shape, kind)

    monkeypatch.setenv("DREAM_DECODER", place)
    monkeypatch.setattr(np, "empty", empty)
    with pytest.raises(PictureError, match=r"cat.jpg takes too much memory to read; shrink it"):
        load_image(CAT)


def test_many_files_leave_no_descriptor_and_no_process(decoders: DecoderPool) -> None:
    before, files = children_of(os.getpid()), len(os.listdir("/proc/self/fd"))
    for _ in range(25):
        load_image(CAT)
        with pytest.raises(PictureError):
            load_image(io.BytesIO(b"no picture"))
    assert len(os.listdir("/proc/self/fd")) == files
    assert not children_of(os.getpid()).keys() - before.keys()


def test_a_film_has_a_decoder_of_its_own_which_ends_where_the_film_is_left(
    decoders: DecoderPool,
) -> None:
    # A worker of pytest may run a server for other tests.
    others = {each for each in children_of(os.getpid()) if not is_decoder(each)}
    frames = read_frames(read_video_info(FILM), (48, 64))
    next(frames)
    assert not decoders._free_decoders
    assert load_image(CAT).shape == (1, 3, 300, 451)
    (other,) = decoders._free_decoders
    frames.close()
    assert decoders._free_decoders == [other] and not other.process.poll()
    assert children_of(os.getpid()).keys() - others == {other.process.pid}


def test_the_decoder_of_a_film_takes_the_next_file_once_all_frames_are_there(
    decoders: DecoderPool,
) -> None:
    video, process = read_video_info(FILM), decoders._free_decoders[-1].process
    frames = read_frames(video, (48, 64), video.frame_count - 2)
    assert len(list(islice(frames, 2))) == 2  # No third one is started.
    assert [each.process for each in decoders._free_decoders] == [process]
    assert not list(frames) and not list(read_frames(video, (48, 64), video.frame_count))


def test_frames_that_are_left_out_before_the_first_one_take_the_time_of_many_answers(
    decoders: DecoderPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video_container, "HEARTBEAT_FRAMES", 2)
    video = read_video_info(FILM)
    with FILM.open("rb") as file:
        frames = list(video_container.read_frames(file, "", video.to_dict(), (48, 64), 7))
    assert [each is None for each in frames[:4]] == [True, True, True, False]
    assert len(frames) == 3 + video.frame_count - 7
    heartbeats = [*number_messages(*[None] * 3), HEADER.pack(PIXELS, 12) + bytes(range(12))]
    monkeypatch.setattr(decoder, "START_CODE", answering_script(*heartbeats))
    pool = DecoderPool()
    monkeypatch.setattr(decoder, "_decoder_pool", lambda process: pool)
    assert next(read_frames(video, (2, 2), 7)).tobytes() == bytes(range(12))


@pytest.mark.parametrize(
    "wrong",
    [
        {"times": [1, 2, 3]},
        {"times": [0, 2, 2]},
        {"times": [0, 2, 1]},
        {"times": [0, 1]},
        {"times": [0, 1, 10**400]},
        {"time_base": [0, 1]},
        {"remark": "\x1b"},
        {"remark": "a" * 201},
        {"size": [0, 1]},
    ],
)
def test_a_video_that_none_can_be_is_refused(wrong: dict[str, Any]) -> None:
    video = read_video_info(FILM)
    assert VideoInfo.from_dict(str(FILM), video.to_dict()) == video
    with pytest.raises((ArithmeticError, ValueError)):
        float(VideoInfo.from_dict(str(FILM), video.to_dict() | wrong).times[-1])


def test_a_limit_is_no_higher_than_whoever_started_the_program_allows() -> None:
    script = (
        "import resource; from dream.files.decoder_process import set_limit;"
        "resource.setrlimit(resource.RLIMIT_CPU, (50, 60));"
        "set_limit(resource.RLIMIT_CPU, 1000); print(resource.getrlimit(resource.RLIMIT_CPU))"
    )
    done = run_python("-c", script)
    assert done.stdout == "(60, 60)\n", done.stderr


def test_ffmpeg_has_few_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    with video_container.open_video(FILM) as opened:
        stream = opened.streams.video[0]
        next(video_container._decode_frames(opened, stream))
        assert stream.codec_context.thread_count == 4


EXIT_SCRIPT = """
import os, signal, sys, time
from dream.files import decoder, image
image.load_image(sys.argv[1])
print(decoder._decoder_pool(os.getpid())._free_decoders[0].process.pid, flush=True)
time.sleep(float(sys.argv[2]))
"""


@pytest.mark.parametrize("number", [0, signal.SIGKILL])
def test_a_decoder_ends_with_its_parent(number: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", EXIT_SCRIPT, str(CAT), "60" if number else "0"],
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
    wait_until(lambda: not is_decoder(started), 10)


# While another thread decodes: the fork inherits a lock that is never released.
FORK_SCRIPT = """
import os, sys
from dream.files import decoder, image
image.load_image(sys.argv[1])
with image.DECODE_LOCK:
    child = os.fork()
    if not child:
        own = decoder._decoder_pool(os.getpid())
        image.load_image(sys.argv[1])
        before = decoder._decoder_pool(os.getppid())._free_decoders[0]
        mine = own._free_decoders[0]
        os._exit(mine.process.pid == before.process.pid or before.process.poll() == -9)
_, status = os.waitpid(child, 0)
image.load_image(sys.argv[1])
sys.exit(status)
"""


def test_a_fork_has_decoders_of_its_own_and_waits_for_no_lock_of_its_parent() -> None:
    environment = os.environ | {"DREAM_DECODER": "process"}
    done = run_python("-W", "ignore", "-c", FORK_SCRIPT, str(CAT), env=environment)
    assert not done.returncode, done.stderr


def test_the_variable_names_one_of_two_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DREAM_DECODER", "elsewhere\x1b")
    said = r"DREAM_DECODER must be \"here\" or \"process\", not 'elsewhere\\x1b'"
    with pytest.raises(DreamError, match=said):
        load_image(CAT)


def test_a_decoder_that_cannot_start_is_one_line(
    pool: DecoderPool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(socket, "socketpair", lambda: (_ for _ in ()).throw(OSError("no files")))
    start_decoder()
    with pytest.raises(PictureError, match="its decoder ended early"):
        load_image(CAT)
    assert [each.getMessage() for each in caplog.records] == ["No decoder can be started: no files"]
