"""`fleet-rlm volume`: the files of a Modal Volume (version 2), from a shell."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from fleet_rlm.cli import cloud, printing, volume_copy
from fleet_rlm.cli.plain_help import App
from fleet_rlm.documents.work import size_in_words
from fleet_rlm.figures import plural
from fleet_rlm.screen_text import clean_line

if TYPE_CHECKING:
    from fleet_rlm.sandbox.modal.volume_files import Entry, VolumeFiles

app = App(name="volume", help="Look into a Modal Volume, and copy files from and to it.", no_args_is_help=True)

STREAM = "-"
Volume = Annotated[str, typer.Argument(metavar="VOLUME", help="The volume's name.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_KINDS = {"file": "", "folder": "/", "other": "?"}


@app.command("ls")
def list_files(
    volume: Volume,
    path: Annotated[str, typer.Argument(metavar="[PATH]", help="A folder or file in it.")] = "/",
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Folders in folders as well.")] = False,
    as_json: AsJson = False,
) -> None:
    """List what a volume holds: a table on a terminal, lines with tabs elsewhere."""
    with _at_modal(volume, as_json) as open_files:
        at = volume_copy.in_volume(path)
        found = open_files().entries(at, recursive=recursive)
    if as_json:
        printing.say_json(
            [{"path": one.path, "kind": one.kind, "bytes": one.bytes, "modified": _iso(one.modified)} for one in found]
        )
    elif printing.draws():
        _print_table(found)
        files = [one for one in found if one.kind == "file"]
        printing.tell(f"{plural(len(files), 'file')}, {size_in_words(sum(one.bytes for one in files))}")
    else:
        for one in found:
            printing.say("\t".join((one.kind, str(one.bytes), _iso(one.modified), clean_line(one.path, 4096))))


@app.command()
def get(
    volume: Volume,
    remote: Annotated[str, typer.Argument(metavar="REMOTE", help="A file or folder in the volume.")],
    local: Annotated[
        str | None,
        typer.Argument(metavar="[LOCAL]", help="Where it goes; a folder takes it in; - is standard output."),
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Copy a file, or a folder with all in it, from a volume. Nothing here is replaced without --force."""
    with _at_modal(volume, as_json) as open_files:
        at = volume_copy.in_volume(remote)
        if local == STREAM and as_json:
            raise volume_copy.Refused("--json and - both want standard output.", "Leave one of them out.", usage=True)
        files = open_files()
        found = files.find(at)
        if found is None:
            raise volume_copy.Refused(f"The volume {volume} has no {at}.", f"fleet-rlm volume ls {volume} lists it.")
        if local == STREAM:
            _to_stdout(files, found)
            return
        target = volume_copy.target_of(at, volume, Path(local) if local is not None else None)
        left_out: list[str] = []
        if found.kind == "folder":
            wanted, left_out = volume_copy.downloads(files.entries(at, recursive=True), at, target)
            if not wanted and not left_out:
                raise volume_copy.Refused(f"There is no file in {at or volume}; nothing was fetched.")
        else:
            wanted = [volume_copy.Download(at, target, found.bytes)]
        root = target if found.kind == "folder" else None
        volume_copy.may_be_written(wanted, root, force=force)
        with _bar(f"fetching {at or volume}", sum(one.bytes for one in wanted)) as moved:
            volume_copy.fetch(files, wanted, moved, force=force)
    _tell_moved("fetched", [one.bytes for one in wanted], left_out)
    if as_json:
        told = [{"path": one.path, "file": str(one.target), "bytes": one.bytes} for one in wanted]
        printing.say_json({"fetched": told, "left_out": left_out})
    else:
        printing.say(str(target))
    raise typer.Exit(printing.FAILED if left_out else printing.OK)


@app.command()
def put(
    volume: Volume,
    local: Annotated[str, typer.Argument(metavar="LOCAL", help="A file or folder here; - is standard input.")],
    remote: Annotated[
        str | None, typer.Argument(metavar="[REMOTE]", help="Its path in the volume; a folder there takes it in.")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Copy a file, or a folder with all in it, to a volume. Nothing there is replaced without --force."""
    with _at_modal(volume, as_json) as open_files, tempfile.TemporaryDirectory(prefix="fleet-rlm-put-") as folder:
        at = volume_copy.in_volume(remote or "")
        if local == STREAM:
            if not at or (remote or "").endswith("/"):
                raise volume_copy.Refused(
                    "What comes on standard input needs a path in the volume.",
                    f"fleet-rlm volume put {volume} - notes.txt",
                    usage=True,
                )
            source = _from_stdin(Path(folder))
        else:
            source = Path(local)
            volume_copy.uploads(source, at, into=True)  # says what is wrong here before Modal is asked
        files = open_files()
        there = files.find(at) if at else None
        into = local != STREAM and ((remote or "").endswith("/") or (there is not None and there.kind == "folder"))
        if local == STREAM and there is not None and there.kind == "folder":
            raise volume_copy.Refused(f"{at} is a folder of the volume {volume}.", "Name a file in it.", usage=True)
        wanted, left_out = volume_copy.uploads(source, at, into=into)
        volume_copy.may_be_stored(files, wanted, force=force)
        with _bar(f"sending {local}", sum(one.bytes for one in wanted)) as moved:
            volume_copy.send(files, wanted, moved, force=force)
    _tell_moved("sent", [one.bytes for one in wanted], left_out)
    if as_json:
        sent = [{"file": str(one.source), "path": one.path, "bytes": one.bytes} for one in wanted]
        printing.say_json({"sent": sent, "left_out": left_out})
    else:
        for one in wanted:
            printing.say(one.path)


@app.command("rm")
def remove(
    volume: Volume,
    path: Annotated[str, typer.Argument(metavar="PATH", help="A file or folder in the volume.")],
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="A folder with all in it.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove a file, or a folder with all in it, from a volume. Asks first."""
    with _at_modal(volume, as_json) as open_files:
        at = volume_copy.in_volume(path)
        if not at:
            words = f"{path!r} is the whole volume."
            hint = f"Name a file or folder in it, or delete the volume: modal volume delete {volume}"
            raise volume_copy.Refused(words, hint, usage=True)
        if not yes and not (sys.stdin.isatty() and sys.stderr.isatty()):
            words = "Nothing was removed: there is nobody to ask."
            raise volume_copy.Refused(words, "Add --yes to remove it without a question.", usage=True)
        files = open_files()
        found = files.find(at)
        if found is None:
            raise volume_copy.Refused(f"The volume {volume} has no {at}.", f"fleet-rlm volume ls {volume} lists it.")
        held = [found]
        if found.kind == "folder":
            held = [one for one in files.entries(at, recursive=True) if one.kind != "folder"]
            if not recursive:
                words = f"{at} is a folder ({plural(len(held), 'file')}); nothing was removed."
                raise volume_copy.Refused(words, "Add --recursive to remove it with all in it.")
        size = sum(one.bytes for one in held)
        what = f"{at} ({plural(len(held), 'file')}, {size_in_words(size)})"
        if not yes and not _agreed(f"Remove {what} from the volume {volume}?"):
            printing.tell("Nothing was removed.")
            raise typer.Exit(printing.FAILED)
        files.remove(at, recursive=recursive)
    printing.tell(f"Removed {what}.")
    if as_json:
        printing.say_json({"removed": at, "files": len(held), "bytes": size})


@contextmanager
def _at_modal(volume: str, as_json: bool) -> Iterator[Callable[[], VolumeFiles]]:
    """What opens the volume, once all that can be said without Modal was; refusals end the command."""

    def open_files() -> VolumeFiles:
        cloud.settings(as_json)
        from fleet_rlm.sandbox.modal.client import Deadlines
        from fleet_rlm.sandbox.modal.volume_files import VolumeFiles

        return VolumeFiles(volume, deadlines=Deadlines(look_up=cloud.ANSWER_SECONDS))

    cloud.usable_name("a volume", volume, as_json)
    with cloud.refusals(as_json):
        try:
            yield open_files
        except volume_copy.Refused as error:
            code = printing.USAGE if error.usage else printing.FAILED
            printing.fail(str(error), error.hint, code=code, as_json=as_json)
        except BrokenPipeError:  # whoever read standard output has seen enough
            raise
        except OSError as error:  # of this machine's files; Modal's are told by `refusals`
            words = f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror or error}."
            printing.fail(words, "Choose another place, or give yourself access to it.", as_json=as_json)


def _to_stdout(files: VolumeFiles, found: Entry) -> None:
    if found.kind != "file":
        words = f"{found.path or '/'} is a folder, and standard output takes one file."
        raise volume_copy.Refused(words, "Name a file in it, or a folder here to copy it to.", usage=True)
    with tempfile.TemporaryFile() as file:
        with _bar(f"fetching {found.path}", found.bytes) as moved:
            files.read_into(found.path, file, moved)
        file.seek(0)
        _show(file)


def _show(file: BinaryIO) -> None:
    """As it is into a pipe or a file; harmless to a terminal."""
    if sys.stdout.isatty():
        for line in file:
            printing.say(line.decode(errors="replace").removesuffix("\n"))
    else:
        sys.stdout.flush()
        shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()


def _from_stdin(folder: Path) -> Path:
    """Standard input as a file: a volume has to know its size and hash first."""
    if sys.stdin.isatty():
        printing.tell("Reading standard input, to its end (ctrl+d).")
    path = folder / "stdin"
    with path.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    return path


def _agreed(question: str) -> bool:
    return typer.confirm(clean_line(question), err=True)


def _tell_moved(done: str, sizes: Sequence[int], left_out: Sequence[str]) -> None:
    printing.tell(f"{done} {plural(len(sizes), 'file')}, {size_in_words(sum(sizes))}")
    for words in left_out:
        printing.tell(f"left out {clean_line(words)}")


@contextmanager
def _bar(what: str, total: int) -> Iterator[volume_copy.Moved]:
    """A bar on stderr where a person looks at it."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(bar_width=24),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(clean_line(what, 40), total=total)
        yield lambda count: bar.advance(task, count)


def _print_table(found: Sequence[Entry]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("name", overflow="fold")
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("changed", no_wrap=True)
    for one in found:
        size = size_in_words(one.bytes) if one.kind == "file" else ""
        when = _when(one.modified)
        changed = f"{when.astimezone():%Y-%m-%d %H:%M}" if when else ""
        table.add_row(Text(clean_line(one.path + _KINDS[one.kind], 4096)), size, changed)
    Console(highlight=False).print(table)


def _iso(moment: float) -> str:
    when = _when(moment)
    return when.isoformat() if when else ""


def _when(moment: float) -> datetime | None:
    """Seconds since 1970 as a date; a volume may say any number."""
    try:
        return datetime.fromtimestamp(moment, UTC) if moment else None
    except (OverflowError, OSError, ValueError):
        return None
