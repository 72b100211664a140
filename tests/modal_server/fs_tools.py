"""Modal's file tools of a sandbox: the client runs them there, with a command in JSON as the one argument.

Runs inside the container, where there is only the standard library.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import sys
from collections.abc import Callable
from typing import Any, NoReturn

_CHUNK = 1 << 20
_KINDS = {
    errno.ENOENT: "NotFound",
    errno.EISDIR: "IsDirectory",
    errno.ENOTDIR: "NotDirectory",
    errno.EEXIST: "PathAlreadyExists",
    errno.EACCES: "PermissionDenied",
    errno.EPERM: "PermissionDenied",
    errno.EROFS: "PermissionDenied",
    errno.ENOTEMPTY: "DirectoryNotEmpty",
}


def write(path: str, **_: Any) -> None:
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, "Is a directory")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    beside = f"{path}.{os.getpid()}"
    with open(beside, "wb") as file:
        while chunk := os.read(0, _CHUNK):
            file.write(chunk)
    os.replace(beside, path)


def read(path: str, **_: Any) -> None:
    with open(path, "rb") as file:
        shutil.copyfileobj(file, sys.stdout.buffer, _CHUNK)
    sys.stdout.buffer.flush()


def show(path: str, **_: Any) -> None:
    print(json.dumps(_entry(path)))


def show_folder(path: str, **_: Any) -> None:
    print(json.dumps([_entry(os.path.join(path, name)) for name in sorted(os.listdir(path))]))


def make_folder(path: str, parents: bool = False, **_: Any) -> None:
    if parents:
        os.makedirs(path, exist_ok=True)
    else:
        os.mkdir(path)


def remove(path: str, recursive: bool = False, **_: Any) -> None:
    if not os.path.isdir(path) or os.path.islink(path):
        os.remove(path)
    elif recursive:
        shutil.rmtree(path)
    else:
        os.rmdir(path)


_COMMANDS: dict[str, Callable[..., None]] = {
    "WriteFile": write,
    "ReadFile": read,
    "Stat": show,
    "ListFiles": show_folder,
    "MakeDirectory": make_folder,
    "Remove": remove,
}


def _entry(path: str) -> dict[str, Any]:
    found = os.lstat(path)
    link = os.readlink(path) if stat.S_ISLNK(found.st_mode) else None
    return {
        "name": os.path.basename(path.rstrip("/")),
        "path": path,
        "type": "symlink" if link else "directory" if stat.S_ISDIR(found.st_mode) else "file",
        "size": found.st_size,
        "mode": stat.S_IMODE(found.st_mode),
        "permissions": stat.filemode(found.st_mode)[1:],
        "owner": "root",
        "group": "root",
        "modified_time": found.st_mtime,
        "symlink_target": link,
    }


def _fail(kind: str, message: str) -> NoReturn:
    sys.stderr.write(json.dumps({"error_kind": kind, "message": message, "detail": ""}))
    sys.exit(1)


def main() -> None:
    ((name, arguments),) = json.loads(sys.argv[1]).items()
    command = _COMMANDS.get(name)
    if command is None:
        _fail("NotSupported", f"no {name} here")
    try:
        command(**arguments)
    except OSError as error:
        _fail(_KINDS.get(error.errno or 0, "Other"), error.strerror or str(error))


main()
