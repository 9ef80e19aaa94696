"""The process that decodes what strangers send: it reads files whose descriptors it receives.

It answers requests, which come by the socket on its standard input, until that is closed. Once it
has loaded what it needs, the kernel lets it open no file, reach no network, start no program and
signal or change no other process, where it has seccomp; Landlock holds its files and network, too.
It loads no torch, and knows few variables of the environment.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import re
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
from dream.files.limited_reader import Reading, too_much_memory
from dream.files.pixels import read_pixels, read_size, read_thumbnail
from dream.files.video_container import read_frames, read_text, read_video

READINGS: dict[str, Callable[..., Reading]] = {
    "frames": read_frames,
    "pixels": read_pixels,
    "size": read_size,
    "text": read_text,
    "thumbnail": read_thumbnail,
    "video": read_video,
}
# A request is its length (LENGTH), which comes with the file's descriptor, and JSON. An answer is a
# HEADER, which is its kind and how many bytes follow, and those: NUMBERS is JSON, PIXELS are RGB in
# 8 bits, WRONG is the text of an error, END nothing. After NUMBERS the parent sends NEXT when it
# wants the next answer; PIXELS follow one another. Before the first request the process sends, as
# NUMBERS for which no NEXT comes, what confines it.
LENGTH, HEADER = struct.Struct(">I"), struct.Struct(">cI")
NUMBERS, PIXELS, WRONG, END, NEXT = b"n", b"p", b"w", b"e", b"+"

# Of <linux/landlock.h>: by version the rights to files; those to TCP, from version 4 on; and the
# sockets and signals of other processes, from version 6 on.
CREATE_RULESET, RESTRICT_SELF = 444, 446
FILE_RIGHTS = (0, 0x1FFF, 0x3FFF, 0x7FFF, 0x7FFF, 0xFFFF)
TCP_RIGHTS, SCOPES = 0b11, 0b11
NO_NEW_PRIVILEGES, SET_SECCOMP, SECCOMP_FILTER = 38, 22, 2
# Of <linux/audit.h>: how seccomp calls a processor, and its column in the two tables below.
PROCESSORS = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
# System calls that are refused, each with its numbers on x86_64 and on aarch64 (of <asm/unistd.h>).
REFUSED_CALLS = """
    Files      open 2 -  creat 85 -  openat 257 56  openat2 437 437  open_by_handle_at 304 265
               truncate 76 45  rename 82 -  renameat 264 38  renameat2 316 276  unlink 87 -
               unlinkat 263 35  rmdir 84 -  link 86 -  linkat 265 37  symlink 88 -  symlinkat 266 36
               mkdir 83 -  mkdirat 258 34  mknod 133 -  mknodat 259 33  mount 165 40
    Attributes chmod 90 -  fchmod 91 52  fchmodat 268 53  fchmodat2 452 452  chown 92 -
               fchown 93 55  lchown 94 -  fchownat 260 54  utime 132 -  utimes 235 -
               futimesat 261 -  utimensat 280 88  setxattr 188 5  lsetxattr 189 6  fsetxattr 190 7
               setxattrat 463 463  removexattr 197 14  lremovexattr 198 15  fremovexattr 199 16
               removexattrat 466 466  file_setattr 469 469
    Network    socket 41 198  io_uring_setup 425 425
    Programs   execve 59 221  execveat 322 281  fork 57 -  vfork 58 -  setsid 112 157
               setpgid 109 154  unshare 272 97  setns 308 268  bpf 321 280
    Signals    kill 62 129  tkill 200 130  tgkill 234 131  rt_sigqueueinfo 129 138
               rt_tgsigqueueinfo 297 240  pidfd_open 434 434  pidfd_send_signal 424 424
    Memory of  ptrace 101 117  process_vm_readv 310 270  process_vm_writev 311 271
    others     process_madvise 440 440  pidfd_getfd 438 438  migrate_pages 256 238
               move_pages 279 239  perf_event_open 298 241
    Scheduling setpriority 141 140  ioprio_set 251 30  sched_setaffinity 203 122
               sched_setparam 142 118  sched_setscheduler 144 119  sched_setattr 314 274
    Keys       add_key 248 217  request_key 249 218  keyctl 250 219
"""
# System calls whose arguments decide (see `_argument_rules`).
CHECKED_CALLS = "clone 56 220  clone3 435 435  prlimit64 302 261  fcntl 72 25  ioctl 16 29"
CLONE_THREAD = 0x10000
# F_SETOWN, F_SETSIG, F_SETOWN_EX, F_SETLEASE and F_NOTIFY; FIOSETOWN and SIOCSPGRP: each has the
# kernel send signals.
FCNTL_SIGNALS, IOCTL_SIGNALS = (8, 10, 15, 1024, 1026), (0x8901, 0x8902)
# On x86_64 numbers from this one on are those of another convention, x32.
OTHER_CALLS = 0x40000000
# Operations of the filter (see <linux/filter.h>), and what it returns: EPERM is 1, ENOSYS 38.
LOAD, JUMP_IF_EQUAL, JUMP_IF_ABOVE, JUMP_IF_SET, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
RESULTS = {"allow": 0x7FFF0000, "refuse": 0x00050001, "missing": 0x00050026}
# An operation, its value, and where to go if it holds and if not: a result, or how many lines to
# skip.
Line = tuple[int, int, int | str, int | str]


def main() -> None:
    """Say what confines this process, then answer requests until there are none."""
    load_readers()
    program_bytes, silence = _address_space(), os.open(os.devnull, os.O_WRONLY)
    protections = confine()
    os.dup2(silence, 2)  # libtiff and ffmpeg write there what strangers have them say.
    with socket.socket(fileno=0) as connection:
        _send(connection, NUMBERS, json.dumps(protections).encode())
        while head := (received := socket.recv_fds(connection, LENGTH.size, 1))[0]:
            with open(received[1][0], "rb") as file:
                file.seek(0)
                (length,) = LENGTH.unpack(head)
                request = json.loads(connection.recv(length, socket.MSG_WAITALL))
                _answer(connection, file, program_bytes, **request)


def _answer(
    connection: socket.socket,
    file: BinaryIO,
    program_bytes: int,
    what: str,
    name: str,
    memory: int,
    seconds: int,
    options: dict[str, Any],
) -> None:
    """Send what a reading of the file yields, within limits.

    Args:
        program_bytes: what this process took before the first request.
        memory: how many bytes the reading may take beside those.
        seconds: how many seconds of a processor each answer may take.
    """
    import resource

    set_limit(resource.RLIMIT_AS, program_bytes + memory)
    limit_cpu_seconds(seconds)
    kind, text = END, ""
    try:
        for answer in READINGS[what](file, name, **options):
            if isinstance(answer, np.ndarray | Image.Image):
                _send(connection, PIXELS, np.ascontiguousarray(answer))
            else:
                _send(connection, NUMBERS, json.dumps(answer).encode())
                if connection.recv(1) != NEXT:
                    raise SystemExit
            limit_cpu_seconds(seconds)
    except PictureError as error:
        kind, text = WRONG, str(error)
    except MemoryError:
        kind, text = WRONG, str(too_much_memory(name))
    except Exception as error:
        kind, text = WRONG, str(PictureError(f"{name} cannot be read: {first_line(error)}"))
    _send(connection, kind, text.encode())


def _send(connection: socket.socket, kind: bytes, content: Any) -> None:
    content = memoryview(content).cast("B") if len(content) else b""
    connection.sendall(HEADER.pack(kind, len(content)))
    connection.sendall(content)


def limit_cpu_seconds(seconds: int) -> None:
    """End this process after so many more seconds of a processor."""
    import resource

    set_limit(resource.RLIMIT_CPU, int(sum(os.times()[:2])) + seconds + 1)


def set_limit(kind: int, value: int) -> None:
    """Set a limit of this process, at most as high as whoever started it allows."""
    import resource

    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


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


def confine() -> list[str]:
    """Take the rights from this process that decoding does not need. It must have one thread.

    Returns:
        What the kernel enforces from now on: `landlock`, `seccomp`, both or neither.
    """
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    protections = []
    with suppress(AttributeError, OSError):
        library = ctypes.CDLL(None)
        _prctl(library, NO_NEW_PRIVILEGES, 1)
        if _restrict_files(library):
            protections.append("landlock")
        is_64_bit = ctypes.sizeof(ctypes.c_void_p) == 8
        if platform.machine() in PROCESSORS and is_64_bit and _filter_calls(library):
            protections.append("seccomp")
    return protections


def _restrict_files(library: ctypes.CDLL) -> bool:
    """Use Landlock (see <linux/landlock.h>) and return whether the kernel has it."""
    version = library.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version <= 0:
        return False
    files = FILE_RIGHTS[min(version, len(FILE_RIGHTS) - 1)]
    rights = (files, TCP_RIGHTS * (version >= 4), SCOPES * (version >= 6))
    size = ctypes.c_size_t(8 if version < 4 else 16 if version < 6 else 24)
    rules = library.syscall(CREATE_RULESET, struct.pack("=3Q", *rights), size, 0)
    if rules < 0:
        return False
    is_restricted = bool(library.syscall(RESTRICT_SELF, rules, 0) == 0)
    os.close(rules)
    return is_restricted


def _filter_calls(library: ctypes.CDLL) -> bool:
    """Use seccomp (see <linux/seccomp.h>) and return whether the kernel has it."""
    lines = ctypes.create_string_buffer(_assemble(_filter_lines(platform.machine())))
    count = (len(lines) - 1) // 8
    head = ctypes.create_string_buffer(struct.pack("@HP", count, ctypes.addressof(lines)))
    return _prctl(library, SET_SECCOMP, SECCOMP_FILTER, ctypes.addressof(head)) == 0


def call_numbers(table: str, machine: str) -> dict[str, int]:
    """The numbers that the system calls of a table have on that machine, by their names."""
    column = PROCESSORS[machine][1]
    rows = re.findall(r"(\w+) (\d+|-) (\d+|-)", table)
    return {name: int(each[column]) for name, *each in rows if each[column] != "-"}


def _filter_lines(machine: str) -> list[Line]:
    """The filter of system calls for that machine, but for its results."""
    lines: list[Line] = [
        (LOAD, 4, 0, 0),  # The processor.
        (JUMP_IF_EQUAL, PROCESSORS[machine][0], 0, "refuse"),
        (LOAD, 0, 0, 0),  # The number of the call.
        (JUMP_IF_ABOVE, OTHER_CALLS, "refuse", 0),
    ]
    refused = call_numbers(REFUSED_CALLS, machine).values()
    lines += [(JUMP_IF_EQUAL, number, "refuse", 0) for number in refused]
    for name, number in call_numbers(CHECKED_CALLS, machine).items():
        rules = _argument_rules(name)
        lines += [(JUMP_IF_EQUAL, number, 0, len(rules)), *rules]
    return lines


def _argument_rules(name: str) -> list[Line]:
    """Lines that decide on a call of that name by its arguments, of which each has two halves."""
    first, second = 16, 24
    if name == "clone":  # Threads only.
        return [(LOAD, first, 0, 0), (JUMP_IF_SET, CLONE_THREAD, "allow", "refuse")]
    if name == "clone3":  # Its flags are in memory; without it libraries use clone.
        return [(JUMP_IF_ABOVE, 0, "missing", 0)]
    if name == "prlimit64":  # Of this process only, which has the number 0.
        low, high = (LOAD, first, 0, 0), (LOAD, first + 4, 0, 0)
        return [low, (JUMP_IF_EQUAL, 0, 0, "refuse"), high, (JUMP_IF_EQUAL, 0, "allow", "refuse")]
    *others, last = FCNTL_SIGNALS if name == "fcntl" else IOCTL_SIGNALS
    checks: list[Line] = [(JUMP_IF_EQUAL, each, "refuse", 0) for each in others]
    return [(LOAD, second, 0, 0), *checks, (JUMP_IF_EQUAL, last, "refuse", "allow")]


def _assemble(lines: list[Line]) -> bytes:
    """The program of a filter: its lines, what follows if none decides, and the results."""
    places = {result: len(lines) + at for at, result in enumerate(RESULTS)}
    program = b""
    for at, (operation, value, *jumps) in enumerate(lines):
        skipped = [places[to] - at - 1 if isinstance(to, str) else to for to in jumps]
        program += struct.pack("=HBBI", operation, *skipped, value)
    return program + b"".join(struct.pack("=HBBI", RETURN, 0, 0, to) for to in RESULTS.values())


def _prctl(library: ctypes.CDLL, option: int, *values: int) -> int:
    """Call prctl and return what it returns: 0 where it succeeds."""
    arguments = (ctypes.c_ulong(each) for each in (*values, 0, 0, 0, 0)[:4])
    return int(library.prctl(option, *arguments))
