"""Remove a folder that hostile code has written: any depth, any mode, no link followed."""

from __future__ import annotations

import os
import stat


def remove(path: str) -> bool:
    """Remove a folder and all in it, after everything that wrote there has ended; return True if it is gone."""
    try:
        top = _open(path)
    except OSError as error:
        return isinstance(error, FileNotFoundError)
    try:
        _empty(top)
    finally:
        os.close(top)
    try:
        os.rmdir(path)
    except OSError as error:
        return isinstance(error, FileNotFoundError)
    return True


def _empty(top: int) -> None:
    """Empty a folder. Folders below are moved up before they are entered, so that no depth exhausts anything."""
    unique, moved, todo = os.urandom(8).hex(), 0, ["."]
    while todo:
        name = todo.pop()
        try:
            fd = _open(name, top)
        except OSError:
            continue  # what can't be removed is told by the result of `remove`
        try:
            for entry in os.listdir(fd):
                try:
                    if stat.S_ISDIR(os.lstat(entry, dir_fd=fd).st_mode):
                        os.chmod(entry, 0o700, dir_fd=fd)
                        moved += 1
                        above = f".{unique}-{moved}"
                        os.rename(entry, above, src_dir_fd=fd, dst_dir_fd=top)
                        todo.append(above)
                    else:
                        os.unlink(entry, dir_fd=fd)
                except OSError:
                    continue
            if name != ".":
                os.rmdir(name, dir_fd=top)
        except OSError:
            continue
        finally:
            os.close(fd)


def _open(path: str, parent: int | None = None) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
