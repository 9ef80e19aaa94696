"""The process that decodes what strangers send: it reads files whose descriptors it is given.

It answers requests, which come by the socket on its standard input, until that is closed. Once it
has loaded what it needs it opens no file, reaches no network and starts no program, where the
kernel has Landlock and seccomp. It loads no torch, and knows few variables of the environment.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pkgutil import walk_packages
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from dream.errors import PictureError, first_line
from dream.files.bounded import Reading
from dream.files.container import read_frames, read_text, read_video
from dream.files.pixels import read_pixels, read_size, read_thumbnail

READINGS: dict[str, Callable[..., Reading]] = {
    "frames": read_frames,
    "pixels": read_pixels,
    "size": read_size,
    "text": read_text,
    "thumbnail": read_thumbnail,
    "video": read_video,
}
# How long a request is; of an answer what it is, and how many bytes of it follow. After numbers a
# byte asks for what comes next.
LENGTH, HEADER = struct.Struct(">I"), struct.Struct(">cI")
NUMBERS, PIXELS, WRONG, END, NEXT = b"n", b"p", b"w", b"e", b"+"

# Of <linux/landlock.h>: by version the rights to files; those to TCP, from version 4 on; and the
# sockets and signals of other processes, from version 6 on.
CREATE_RULESET, RESTRICT_SELF = 444, 446
FILE_RIGHTS = (0, 0x1FFF, 0x3FFF, 0x7FFF, 0x7FFF, 0xFFFF)
TCP_RIGHTS, SCOPES = 0b11, 0b11
NO_NEW_PRIVILEGES, SET_SECCOMP, SECCOMP_FILTER = 38, 22, 2
# By processor: its number for seccomp, and those of socket, execve, kill, ptrace, execveat and
# io_uring_setup. From the first number below on they are those of another convention.
CALLS = {
    "x86_64": (0xC000003E, (41, 59, 62, 101, 322, 425)),
    "aarch64": (0xC00000B7, (198, 221, 129, 117, 281, 425)),
}
OTHER_CALLS = 0x40000000
LOAD, JUMP_IF_EQUAL, JUMP_IF_ABOVE, RETURN = 0x20, 0x15, 0x35, 0x06
ALLOWED, REFUSED = 0x7FFF0000, 0x00050001


def main() -> None:
    """Answer requests until there are none."""
    load_readers()
    program, silence = _address_space(), os.open(os.devnull, os.O_WRONLY)
    confine()
    os.dup2(silence, 2)  # libtiff and ffmpeg write there what strangers have them say.
    with socket.socket(fileno=0) as connection:
        while head := (received := socket.recv_fds(connection, LENGTH.size, 1))[0]:
            with open(received[1][0], "rb") as file:
                file.seek(0)
                (length,) = LENGTH.unpack(head)
                request = json.loads(connection.recv(length, socket.MSG_WAITALL))
                _answer(connection, file, program, **request)


def _answer(
    connection: socket.socket,
    file: BinaryIO,
    program: int,
    what: str,
    name: str,
    memory: int,
    seconds: int,
    options: dict[str, Any],
) -> None:
    """Send what a reading of the file yields, in so many bytes of memory beside those of the
    program, and so many seconds of a processor for each answer.
    """
    import resource

    most = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (program + memory, most))
    _allow(seconds)
    kind, said = END, ""
    try:
        for answer in READINGS[what](file, name, **options):
            if isinstance(answer, np.ndarray | Image.Image):
                _send(connection, PIXELS, np.ascontiguousarray(answer))
            else:
                _send(connection, NUMBERS, json.dumps(answer).encode())
                if connection.recv(1) != NEXT:
                    raise SystemExit
            _allow(seconds)
    except PictureError as error:
        kind, said = WRONG, str(error)
    except Exception as error:
        why = "it takes too much memory" if isinstance(error, MemoryError) else first_line(error)
        kind, said = WRONG, str(PictureError(f"{name} cannot be read: {why}"))
    _send(connection, kind, said.encode())


def _send(connection: socket.socket, kind: bytes, content: Any) -> None:
    content = memoryview(content).cast("B") if len(content) else b""
    connection.sendall(HEADER.pack(kind, len(content)))
    connection.sendall(content)


def _allow(seconds: int) -> None:
    """End this process after so many more seconds of a processor."""
    import resource

    used = sum(os.times()[:2])
    most = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (int(used) + seconds + 1, most))


def _address_space() -> int:
    """How many bytes of addresses this process has by now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def load_readers() -> None:
    """Import what readers import when they first need it: later no file can be opened."""
    Image.preinit()
    names = ["PIL.ImageMode", "PIL.ImagePalette", "PIL.MpoImagePlugin", "PIL.WebPImagePlugin"]
    parts = walk_packages(import_module("av").__path__, "av.")
    for name in (*names, *(part.name for part in parts if "__main__" not in part.name)):
        import_module(name)


def confine() -> None:
    """Take the rights from this process, which must have one thread, that decoding does not need.

    A kernel that lacks Landlock or seccomp leaves those that they would take.
    """
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    with suppress(AttributeError, OSError):
        library = ctypes.CDLL(None)
        call = library.syscall
        _set(library, NO_NEW_PRIVILEGES, 1)
        version = call(CREATE_RULESET, None, ctypes.c_size_t(0), 1)
        if version > 0:
            files = FILE_RIGHTS[min(version, len(FILE_RIGHTS) - 1)]
            rights = (files, TCP_RIGHTS * (version >= 4), SCOPES * (version >= 6))
            size = ctypes.c_size_t(8 if version < 4 else 16 if version < 6 else 24)
            rules = call(CREATE_RULESET, struct.pack("=3Q", *rights), size, 0)
            if rules >= 0:
                call(RESTRICT_SELF, rules, 0)
                os.close(rules)
        if platform.machine() in CALLS and ctypes.sizeof(ctypes.c_void_p) == 8:
            _refuse_calls(library, *CALLS[platform.machine()])


def _refuse_calls(library: ctypes.CDLL, processor: int, calls: tuple[int, ...]) -> None:
    """Have these calls of the system fail (see <linux/seccomp.h>)."""
    last = len(calls) + 5  # Where it refuses; a jump says how many lines it goes past.
    program = [(LOAD, 0, 0, 4), (JUMP_IF_EQUAL, 0, last - 2, processor), (LOAD, 0, 0, 0)]
    program.append((JUMP_IF_ABOVE, last - 4, 0, OTHER_CALLS))
    program += [(JUMP_IF_EQUAL, last - at, 0, each) for at, each in enumerate(calls, start=5)]
    program += [(RETURN, 0, 0, ALLOWED), (RETURN, 0, 0, REFUSED)]
    lines = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in program))
    head = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(lines)))
    _set(library, SET_SECCOMP, SECCOMP_FILTER, ctypes.addressof(head))


def _set(library: ctypes.CDLL, what: int, *values: int) -> None:
    library.prctl(what, *(ctypes.c_ulong(each) for each in (*values, 0, 0, 0, 0)[:4]))
