"""The sandboxed process that decodes untrusted files, whose descriptors it receives.

It answers requests from the socket on its standard input until that is closed. Once its modules are
loaded, seccomp, if the kernel has it, refuses to open files, use the network, start programs, and
signal or change other processes; Landlock also blocks files and network. The process does not load
torch, and inherits few environment variables.
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

with suppress(ImportError):  # Windows has none, and does not use this process.
    import resource

import numpy as np
from PIL import Image

from dream.errors import PictureError
from dream.files.embedded_text import read_text
from dream.files.limited_reader import Answers, convert_read_errors
from dream.files.pixels import read_pixels, read_size, register_heif_formats
from dream.files.video_container import read_frames, read_video

READERS: dict[str, Callable[..., Answers]] = {
    "frames": read_frames,
    "pixels": read_pixels,
    "size": read_size,
    "text": read_text,
    "video": read_video,
}
# Requests and answers are a HEADER (kind and length) and a content: JSON for JSON_VALUE, 8-bit RGB
# for PIXELS, a message for ERROR, nothing for END. A request is a JSON_VALUE, whose HEADER is sent
# with the file's descriptor. After a JSON_VALUE the process waits until the parent sends NEXT;
# PIXELS are sent without waiting. Before the first request the process sends its protections as a
# JSON_VALUE, for which the parent sends no NEXT.
HEADER = struct.Struct(">cI")
JSON_VALUE, PIXELS, ERROR, END, NEXT = b"n", b"p", b"w", b"e", b"+"

# From <linux/landlock.h>: file rights by ABI version; TCP rights, from version 4 on; and scopes
# (abstract sockets and signals of other processes), from version 6 on.
CREATE_RULESET, RESTRICT_SELF = 444, 446
FILE_RIGHTS = (0, 0x1FFF, 0x3FFF, 0x7FFF, 0x7FFF, 0xFFFF)
TCP_RIGHTS, SCOPES = 0b11, 0b11
NO_NEW_PRIVILEGES, SET_SECCOMP, SECCOMP_FILTER = 38, 22, 2
# From <linux/audit.h>: seccomp's number of an architecture, and its column in the tables below.
ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
# Refused system calls, with their numbers on x86_64 and aarch64 (from <asm/unistd.h>).
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
# System calls that are allowed or refused by their arguments (see `_argument_rules`).
CHECKED_CALLS = "clone 56 220  clone3 435 435  prlimit64 302 261  fcntl 72 25  ioctl 16 29"
CLONE_THREAD = 0x10000
# F_SETOWN, F_SETSIG, F_SETOWN_EX, F_SETLEASE and F_NOTIFY; FIOSETOWN and SIOCSPGRP: each makes the
# kernel send signals.
FCNTL_SIGNALS, IOCTL_SIGNALS = (8, 10, 15, 1024, 1026), (0x8901, 0x8902)
# On x86_64, system call numbers from this one on belong to the x32 ABI.
X32_CALLS_START = 0x40000000
# Operations of the filter (see <linux/filter.h>) and its return values: EPERM is 1, ENOSYS 38.
LOAD, JUMP_IF_EQUAL, JUMP_IF_ABOVE, JUMP_IF_SET, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
FILTER_RESULTS = {"allow": 0x7FFF0000, "refuse": 0x00050001, "missing": 0x00050026}
# An operation, its operand, and the targets if true and if false: a result, or lines to skip.
FilterLine = tuple[int, int, int | str, int | str]


def read_file(reader: str, file: BinaryIO, name: str, options: dict[str, Any]) -> Answers:
    """Yield the answers of a reader of `READERS`; any error is a `PictureError`."""
    # The libraries raise almost any error on a damaged file.
    with convert_read_errors(name, Exception):
        yield from READERS[reader](file, name, **options)


def main() -> None:
    """Confine this process, send its protections, then answer requests until there are none."""
    load_readers()
    base_bytes, null_device = _address_space_bytes(), os.open(os.devnull, os.O_WRONLY)
    protections = confine()
    os.dup2(null_device, 2)  # libtiff and ffmpeg print text from untrusted files.
    with socket.socket(fileno=0) as connection:
        _send(connection, JSON_VALUE, json.dumps(protections).encode())
        while header := (received := socket.recv_fds(connection, HEADER.size, 1))[0]:
            with open(received[1][0], "rb") as file:
                file.seek(0)
                _, length = HEADER.unpack(header)
                request = json.loads(connection.recv(length, socket.MSG_WAITALL))
                _answer_request(connection, file, base_bytes, request)


def _answer_request(
    connection: socket.socket, file: BinaryIO, base_bytes: int, request: dict[str, Any]
) -> None:
    """Send the answers of a reader of `READERS`.

    A reader may use `memory_bytes` beyond the `base_bytes` of this process before the first
    request, and `cpu_seconds` for each answer.
    """
    name, cpu_seconds = request["name"], request["cpu_seconds"]
    set_limit(resource.RLIMIT_AS, base_bytes + request["memory_bytes"])
    limit_cpu_seconds(cpu_seconds)
    kind, text = END, ""
    try:
        for answer in read_file(request["reader"], file, name, request["options"]):
            if isinstance(answer, np.ndarray):
                _send(connection, PIXELS, answer)
            else:
                _send(connection, JSON_VALUE, json.dumps(answer).encode())
                if connection.recv(1) != NEXT:
                    raise SystemExit
            limit_cpu_seconds(cpu_seconds)
    except PictureError as error:
        kind, text = ERROR, str(error)
    _send(connection, kind, text.encode())


def _send(connection: socket.socket, kind: bytes, content: Any) -> None:
    """Send an answer."""
    content = memoryview(content).cast("B") if len(content) else b""
    connection.sendall(HEADER.pack(kind, len(content)))
    connection.sendall(content)


def limit_cpu_seconds(seconds: int) -> None:
    """Let the kernel end this process after this many more seconds of CPU time."""
    set_limit(resource.RLIMIT_CPU, int(sum(os.times()[:2])) + seconds + 1)


def set_limit(kind: int, value: int) -> None:
    """Set a resource limit of this process, but no higher than its hard limit."""
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _address_space_bytes() -> int:
    """Return the size of this process's virtual memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def load_readers() -> None:
    """Import the modules that Pillow and PyAV load lazily, because later no file can be opened."""
    Image.preinit()
    register_heif_formats()
    names = [f"PIL.{plugin}ImagePlugin" for plugin in ("Avif", "Mpo", "WebP")]
    names += ["PIL.ImageMode", "PIL.ImagePalette"]
    modules = walk_packages(import_module("av").__path__, "av.")
    for name in (*names, *(each.name for each in modules if "__main__" not in each.name)):
        import_module(name)


def confine() -> list[str]:
    """Drop the rights that decoding does not need. This process must have a single thread.

    Returns:
        The protections that the kernel enforces from now on: `landlock`, `seccomp`, both or none.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    protections = []
    with suppress(AttributeError, OSError):
        library = ctypes.CDLL(None)
        _prctl(library, NO_NEW_PRIVILEGES, 1)
        if _restrict_files(library):
            protections.append("landlock")
        is_64_bit = ctypes.sizeof(ctypes.c_void_p) == 8
        if platform.machine() in ARCHITECTURES and is_64_bit and _filter_calls(library):
            protections.append("seccomp")
    return protections


def _restrict_files(library: ctypes.CDLL) -> bool:
    """Restrict this process by Landlock (see <linux/landlock.h>) and return whether that worked."""
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
    """Filter system calls by seccomp (see <linux/seccomp.h>) and return whether that worked."""
    lines = ctypes.create_string_buffer(_assemble_filter(_filter_lines(platform.machine())))
    count = (len(lines) - 1) // 8
    program = ctypes.create_string_buffer(struct.pack("@HP", count, ctypes.addressof(lines)))
    return _prctl(library, SET_SECCOMP, SECCOMP_FILTER, ctypes.addressof(program)) == 0


def call_numbers(table: str, machine: str) -> dict[str, int]:
    """Return the numbers of a table's system calls on a machine, by name."""
    column = ARCHITECTURES[machine][1]
    rows = re.findall(r"(\w+) (\d+|-) (\d+|-)", table)
    return {name: int(numbers[column]) for name, *numbers in rows if numbers[column] != "-"}


def _filter_lines(machine: str) -> list[FilterLine]:
    """Return the lines of a machine's system call filter, without the results at its end."""
    lines: list[FilterLine] = [
        (LOAD, 4, 0, 0),  # The architecture.
        (JUMP_IF_EQUAL, ARCHITECTURES[machine][0], 0, "refuse"),
        (LOAD, 0, 0, 0),  # The number of the system call.
        (JUMP_IF_ABOVE, X32_CALLS_START, "refuse", 0),
    ]
    refused = call_numbers(REFUSED_CALLS, machine).values()
    lines += [(JUMP_IF_EQUAL, number, "refuse", 0) for number in refused]
    for name, number in call_numbers(CHECKED_CALLS, machine).items():
        rules = _argument_rules(name)
        lines += [(JUMP_IF_EQUAL, number, 0, len(rules)), *rules]
    return lines


def _argument_rules(name: str) -> list[FilterLine]:
    """Return the lines that decide a system call by its arguments, which have two halves each."""
    first, second = 16, 24  # Offsets of the arguments.
    if name == "clone":  # Threads only.
        return [(LOAD, first, 0, 0), (JUMP_IF_SET, CLONE_THREAD, "allow", "refuse")]
    if name == "clone3":  # A filter cannot read its flags in memory; libraries fall back to clone.
        return [(JUMP_IF_ABOVE, 0, "missing", 0)]
    if name == "prlimit64":  # This process only, by the process ID 0.
        low, high = (LOAD, first, 0, 0), (LOAD, first + 4, 0, 0)
        return [low, (JUMP_IF_EQUAL, 0, 0, "refuse"), high, (JUMP_IF_EQUAL, 0, "allow", "refuse")]
    *others, last = FCNTL_SIGNALS if name == "fcntl" else IOCTL_SIGNALS
    checks: list[FilterLine] = [(JUMP_IF_EQUAL, each, "refuse", 0) for each in others]
    return [(LOAD, second, 0, 0), *checks, (JUMP_IF_EQUAL, last, "refuse", "allow")]


def _assemble_filter(lines: list[FilterLine]) -> bytes:
    """Return the filter as bytecode: its lines, then the results; undecided calls are allowed."""
    addresses = {result: len(lines) + at for at, result in enumerate(FILTER_RESULTS)}
    program = b""
    for at, (operation, value, *targets) in enumerate(lines):
        skips = [addresses[to] - at - 1 if isinstance(to, str) else to for to in targets]
        program += struct.pack("=HBBI", operation, *skips, value)
    for value in FILTER_RESULTS.values():
        program += struct.pack("=HBBI", RETURN, 0, 0, value)
    return program


def _prctl(library: ctypes.CDLL, option: int, *values: int) -> int:
    """Return the result of a call of prctl, which is 0 on success."""
    arguments = (ctypes.c_ulong(value) for value in (*values, 0, 0, 0, 0)[:4])
    return int(library.prctl(option, *arguments))
