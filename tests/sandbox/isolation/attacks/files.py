"""Read, change, name and re-label files that are not the sandbox's."""

import contextlib
import os
import stat
import sysconfig

SECRET = "SECRET"


def _secret_in(path):
    with open(path, "rb") as file:
        return f"read {path}" if SECRET.encode() in file.read(1 << 16) else None


def reads_a_private_key(target):
    return _secret_in(target.home + "/.ssh/id_rsa")


def reads_the_projects_settings(target):
    return _secret_in(target.project + "/.env")


def lists_the_home_folder(target):
    return str(os.listdir(target.home))


def reads_the_password_files(target):
    got = ""
    for path, word in (("/etc/passwd", "daemon:"), ("/etc/shadow", "root:")):
        try:
            with open(path) as file:
                got += path if word in file.read() else ""
        except OSError:
            continue
    return got or None


def reads_through_a_symlink(target):
    os.symlink(target.home + "/.ssh/id_rsa", target.scratch + "/link")
    return _secret_in(target.scratch + "/link")


def reads_through_a_hard_link(target):
    os.link(target.home + "/.ssh/id_rsa", target.scratch + "/hard")
    return _secret_in(target.scratch + "/hard")


def reads_after_moving_it_in(target):
    os.rename(target.project + "/movable", target.scratch + "/moved")
    return "moved a file into the scratch"


def reads_through_proc_root(target):
    key = target.home + "/.ssh/id_rsa"
    for door in ("/proc/1/root", "/proc/self/root", f"/proc/{os.getppid()}/root", "/proc/1/cwd/../../.."):
        try:
            if got := _secret_in(door + key):
                return got
        except OSError:
            continue
    return _secret_in(target.scratch + "/../" * 12 + key)


def reads_through_a_kept_folder(target):
    folder = os.open("/", os.O_PATH)
    fd = os.open(target.home.lstrip("/") + "/.ssh/id_rsa", os.O_RDONLY, dir_fd=folder)
    return os.read(fd, 10).decode()


def sees_names_and_sizes(target):
    return f"{os.stat(target.home + '/.ssh/id_rsa').st_size} bytes"


def writes_beside(target):
    with open(target.home + "/new", "w") as file:
        file.write("x")
    return "wrote a new file"


def makes_a_folder_beside(target):
    os.mkdir(target.project + "/made")
    return "made a folder"


def appends_to_a_file(target):
    with open(target.project + "/.env", "a") as file:
        file.write("x")
    return "appended"


def empties_a_file(target):
    os.truncate(target.project + "/emptied", 0)
    return "emptied"


def removes_a_file(target):
    os.unlink(target.project + "/removable")
    return "removed"


def links_a_file_out(target):
    with open(target.scratch + "/inner", "w") as file:
        file.write("x")
    os.link(target.scratch + "/inner", target.project + "/linked")
    return "linked a file out"


def changes_an_input(target):
    with open(target.input, "r+b") as file:
        file.write(b"x")
    return "changed an input"


def replaces_an_input(target):
    os.rename(target.input, target.input + ".old")
    return "renamed an input"


def plants_code_in_python(target):
    # creating is enough to plant; what is created is empty and removed at once
    for folder in (os.path.dirname(os.__file__), sysconfig.get_path("platlib"), *target.packages):
        path = folder + "/planted_by_test"
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        except OSError:
            continue
        os.unlink(path)
        return folder
    return None


def fills_a_shared_folder(target):
    for folder in ("/var/tmp", "/run", "/dev", "/etc", "/root", "/home", "/mnt"):
        path = f"{folder}/planted-{target.tag}"
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        except OSError:
            continue
        os.unlink(path)
        return folder
    return None


def changes_modes_and_dates(target):
    """Always "stopped": calls may claim success and do nothing. The harness looks at the file."""
    key = target.home + "/.ssh/id_rsa"
    fd = -1
    with contextlib.suppress(OSError):
        fd = os.open(key, os.O_PATH)
    for change in (
        lambda: os.chmod(key, 0o777),
        lambda: os.chown(key, 12345, 12345),
        lambda: os.utime(key, (1, 1)),
        lambda: os.setxattr(key, "user.x", b"1"),
        lambda: os.chmod(f"/proc/self/fd/{fd}", 0o777),
        lambda: os.utime(f"/proc/self/fd/{fd}", (1, 1)),
    ):
        try:
            change()
        except OSError:
            continue


def makes_a_device(target):
    path = target.scratch + "/device"
    os.mknod(path, stat.S_IFBLK | 0o666, os.makedev(254, 0))
    os.close(os.open(path, os.O_RDONLY))
    return "made and opened a block device"


def opens_machine_devices(target):
    got = []
    for path in ("/dev/mem", "/dev/kmsg", "/dev/vda", "/dev/sda", "/proc/kcore", "/dev/fuse", "/dev/kvm"):
        try:
            os.close(os.open(path, os.O_RDONLY))
        except OSError:
            continue
        got.append(path)
    return ", ".join(got) or None


ATTACKS = {
    "files outside cannot be read": [
        reads_a_private_key,
        reads_the_projects_settings,
        lists_the_home_folder,
        reads_the_password_files,
        reads_through_a_symlink,
        reads_through_a_hard_link,
        reads_through_proc_root,
        reads_through_a_kept_folder,
        opens_machine_devices,
    ],
    "names and sizes of files outside are hidden": [sees_names_and_sizes],
    "files outside cannot be written": [
        writes_beside,
        makes_a_folder_beside,
        appends_to_a_file,
        empties_a_file,
        removes_a_file,
        links_a_file_out,
        reads_after_moving_it_in,
        changes_an_input,
        replaces_an_input,
        plants_code_in_python,
        fills_a_shared_folder,
    ],
    "modes and dates of files outside cannot be changed": [changes_modes_and_dates],
    "dangerous system calls are refused": [makes_a_device],
}
HARMLESS = [
    reads_a_private_key,
    reads_the_projects_settings,
    lists_the_home_folder,
    reads_the_password_files,
    reads_through_a_symlink,
    reads_through_proc_root,
    reads_through_a_kept_folder,
    sees_names_and_sizes,
    writes_beside,
    makes_a_folder_beside,
    appends_to_a_file,
    empties_a_file,
    removes_a_file,
]
