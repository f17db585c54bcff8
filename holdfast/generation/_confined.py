"""The inside of the sandbox: a script, run as `python -I -S _confined.py CHANNEL` by `holdfast.generation.sandbox`.

Reads the program from standard input, gives up everything that it does not need, runs the program and its tests in one
namespace, and only then sends the token back that it was given over the socket CHANNEL. While the program runs, the
token exists nowhere but on this interpreter's value stack: not in a variable, a file, an argument or the environment.
"""

import contextlib
import ctypes
import json
import os
import resource
import struct
import sys
from typing import Any

_REFUSED = (  # audit events, by prefix
    "socket.", "subprocess.", "os.fork", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.kill", "ctypes.",
    "gc.", "pty.", "sys.settrace", "sys.setprofile", "sys._current_frames", "resource.", "os.remove", "os.rename",
    "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown", "os.utime", "os.setxattr",
    "os.removexattr", "shutil.", "cpython.PyInterpreterState_New",
)  # fmt: skip
_NO_IMPORT = {
    "ctypes", "_ctypes", "_posixsubprocess", "resource", "_testcapi", "_xxsubinterpreters", "_interpreters",
}  # fmt: skip
_NEW_USER, _NEW_NET = 0x10000000, 0x40000000
_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_READ_FILE, _READ_DIRECTORY, _PATH_BENEATH = 1 << 2, 1 << 3, 1
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}  # Landlock's version: how many rights on files it knows; 16 since
# Per machine: the audit architecture, and the numbers of the calls below, as far as the machine has them:
# socket, socketpair, connect, clone, fork, vfork, execve, execveat, clone3, kill, tkill, tgkill, pidfd_send_signal,
# ptrace, process_vm_readv and _writev, unshare, prlimit64, io_uring_setup;
# what Landlock lets pass on files: chmod, fchmod, fchmodat, fchmodat2, chown, fchown, lchown, fchownat, utime, utimes,
# utimensat, futimesat, setxattr, lsetxattr, fsetxattr, setxattrat, removexattr, lremovexattr, fremovexattr,
# removexattrat, file_setattr, mknod, mknodat;
# how others run: setpriority, sched_setparam, sched_setscheduler, sched_setaffinity, sched_setattr, ioprio_set.
_CALLS: dict[str, tuple[int, tuple[int, ...]]] = {
    "x86_64": (0xC000003E, (
        41, 53, 42, 56, 57, 58, 59, 322, 435, 62, 200, 234, 424, 101, 310, 311, 272, 302, 425,
        90, 91, 268, 452, 92, 93, 94, 260, 132, 235, 280, 261, 188, 189, 190, 463, 197, 198, 199, 466, 469, 133, 259,
        141, 142, 144, 203, 314, 251,
    )),
    "aarch64": (0xC00000B7, (
        198, 199, 203, 220, 221, 281, 435, 129, 130, 131, 424, 117, 270, 271, 97, 261, 425,
        52, 53, 452, 55, 54, 88, 5, 6, 7, 463, 14, 15, 16, 466, 469, 33,
        140, 118, 119, 122, 274, 30,
    )),
}  # fmt: skip


def limit(limits: dict[str, Any]) -> None:
    """Bound processor time, memory and open files; allow no file content, no core dump and no new process."""
    seconds = max(1, round(limits["seconds"]))
    bounds = {
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_AS: limits["memory"],
        resource.RLIMIT_NOFILE: 32,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NPROC: 0,
    }
    for what, bound in bounds.items():
        resource.setrlimit(what, (bound, bound))


def leave_network(libc: Any) -> bool:
    """Move into a network namespace of its own, without an interface; say whether the kernel allowed it."""
    return bool(libc.unshare(_NEW_USER | _NEW_NET) == 0)


def forbid_files(libc: Any, roots: list[str]) -> bool:
    """Let Landlock allow reading below `roots` and nothing else on files; say whether the kernel has it."""
    version = libc.syscall(_CREATE_RULESET, None, 0, 1)
    if version < 1:
        return False
    handled = (1 << _FILE_RIGHTS.get(version, 16)) - 1
    ruleset = libc.syscall(_CREATE_RULESET, struct.pack("Q", handled), ctypes.c_size_t(8), 0)
    for root in roots:
        with contextlib.suppress(OSError):
            folder = os.open(root, os.O_PATH)
            rule = struct.pack("=Qi", _READ_FILE | _READ_DIRECTORY, folder)
            libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
            os.close(folder)
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    done = libc.syscall(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)
    return bool(done == 0)


def forbid_calls(libc: Any) -> bool:
    """Have seccomp refuse `_CALLS`: sockets, new processes, signals, changes to files; say whether the kernel does."""
    if os.uname().machine not in _CALLS:
        return False
    architecture, numbers = _CALLS[os.uname().machine]
    refuse, kill, allow = 0x00050001, 0x80000000, 0x7FFF0000
    program = [(0x20, 0, 0, 4), (0x15, 1, 0, architecture), (0x06, 0, 0, kill), (0x20, 0, 0, 0)]
    program += [(0x35, 0, 1, 0x40000000), (0x06, 0, 0, refuse)]
    for number in numbers:
        program += [(0x15, 0, 1, number), (0x06, 0, 0, refuse)]
    program.append((0x06, 0, 0, allow))
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
    header = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(code))
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    return bool(libc.prctl(_SET_SECCOMP, _FILTER, header, 0, 0) == 0)


def refuse_events(roots: list[str]) -> None:
    """Have the interpreter refuse what the kernel might not: files outside `roots`, changes, sockets and so on."""
    real = os.path.realpath

    def hook(event: str, values: tuple[Any, ...]) -> None:
        outside = event == "open" and not isinstance(values[0], int) and not real(values[0]).startswith(tuple(roots))
        if outside or event.startswith(_REFUSED) or (event == "import" and values[0] in _NO_IMPORT):
            raise PermissionError(f"{event} is not allowed in the sandbox")

    sys.addaudithook(hook)


def confine(limits: dict[str, Any]) -> str:
    """Give up everything that a program does not need; return the names of the kernel's barriers that hold."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    libc = ctypes.CDLL(None, use_errno=True)
    roots = [os.path.realpath(p) for p in {*sys.path[1:], "/lib", "/lib64", "/usr/lib", "/usr/share/zoneinfo", "."}]
    limit(limits)
    held = {
        "namespace": leave_network(libc),
        "landlock": forbid_files(libc, roots),
        "seccomp": forbid_calls(libc),
    }
    for name in [name for name in sys.modules if name.split(".")[0] in _NO_IMPORT]:
        del sys.modules[name]
    refuse_events(roots)
    return " ".join(name for name, holds in held.items() if holds)


def main() -> None:
    """Run what standard input describes: {"code", "tests", "limits"}; ends the process itself when all tests passed."""
    channel = int(sys.argv[1])
    given = json.loads(sys.stdin.buffer.read())
    sys.stdin.close()
    os.write(channel, confine(given["limits"]).ljust(64).encode())
    code = compile(given["code"], "<program>", "exec", dont_inherit=True)
    tests = compile(given["tests"], "<tests>", "exec", dont_inherit=True)
    space = {"__name__": "__main__", "__builtins__": __builtins__}
    del given
    run, read, write, leave, flush = exec, os.read, os.write, os._exit, sys.stdout.flush
    write(channel, (read(channel, 32), run(code, space), run(tests, space))[0])
    flush()
    leave(0)


if __name__ == "__main__":
    main()
