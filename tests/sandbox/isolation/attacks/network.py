"""Reach the network, and sockets of this machine."""

import array
import os
import socket

FAST_OPEN = 0x20000000


def _connects(family, address, kind=socket.SOCK_STREAM):
    with socket.socket(family, kind) as door:
        door.settimeout(2)
        door.connect(address)
    return f"connected to {address!r}"


def connects_by_tcp(target):
    return _connects(socket.AF_INET, ("127.0.0.1", target.tcp))


def connects_by_tcp_over_ipv6(target):
    return _connects(socket.AF_INET6, ("::ffff:127.0.0.1", target.tcp))


def connects_by_fast_open(target):
    with socket.socket() as door:
        door.settimeout(2)
        door.sendto(b"x", FAST_OPEN, ("127.0.0.1", target.tcp))
    return "sent with the connection's first packet"


def serves_a_port_of_the_machine(target):
    with socket.socket() as door:
        door.bind(("127.0.0.1", target.free_port))
        door.listen()
        # in a network of its own this is the sandbox's own loopback; the machine's port must be taken by its owner
        return None if target.own_network else "listens on the machine's loopback"


def asks_a_name_server(target):
    return str(socket.getaddrinfo("example.org", 80))


def sends_a_datagram(target):
    """Always "stopped": no reply tells. The harness looks at its listener."""
    with socket.socket(type=socket.SOCK_DGRAM) as door:
        door.sendto(target.tag.encode(), ("127.0.0.1", target.udp))


def connects_to_an_abstract_socket(target):
    return _connects(socket.AF_UNIX, "\0" + target.abstract)


def connects_to_a_socket_file(target):
    return _connects(socket.AF_UNIX, target.socket)


def connects_to_the_containers_daemon(target):
    for path in ("/run/docker.sock", "/var/run/docker.sock", "/run/dbus/system_bus_socket", "/run/systemd/notify"):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            try:
                return _connects(socket.AF_UNIX, path, kind)
            except OSError:
                continue
    return None


def sends_to_a_datagram_socket_from_a_pair(target):
    """Always "stopped": the harness looks at its listener. A pair needs no `socket` call, and may name any receiver."""
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        for address in (target.datagrams, "\0" + target.abstract + "-datagrams"):
            try:
                one, _other = socket.socketpair(socket.AF_UNIX, kind)
                one.sendto(target.tag.encode(), address)
            except OSError:
                continue


def opens_a_hypervisor_socket(target):
    socket.socket(40, socket.SOCK_STREAM).close()
    return "AF_VSOCK"


def opens_raw_and_kernel_sockets(target):
    got = []
    for family, kind in ((17, 3), (38, 5), (44, 3), (31, 3), (29, 3), (30, 5), (21, 5)):  # packet, alg, xdp, bluetooth…
        try:
            socket.socket(family, kind).close()
        except OSError:
            continue
        got.append(str(family))
    return ", ".join(got) or None


def receives_a_descriptor(target):
    """A helper outside that passes descriptors would be a door; an own pair can only pass one's own."""
    one, other = socket.socketpair()
    with open(os.devnull) as null:
        one.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [null.fileno()]))])
    _data, ancillary, _flags, _address = other.recvmsg(1, 64)
    (_level, _kind, raw), *_rest = ancillary
    fd = array.array("i", raw)[0]
    return None if os.path.samestat(os.fstat(fd), os.stat(os.devnull)) else "a descriptor of something else"


ATTACKS = {
    "no TCP connections": [
        connects_by_tcp,
        connects_by_tcp_over_ipv6,
        connects_by_fast_open,
        serves_a_port_of_the_machine,
        asks_a_name_server,
    ],
    "no UDP packets": [sends_a_datagram],
    "no abstract sockets of this machine": [connects_to_an_abstract_socket],
    "no socket files of this machine": [
        connects_to_a_socket_file,
        connects_to_the_containers_daemon,
        sends_to_a_datagram_socket_from_a_pair,
        receives_a_descriptor,
    ],
    "no sockets to the hypervisor": [opens_a_hypervisor_socket],
    "dangerous system calls are refused": [opens_raw_and_kernel_sockets],
}
HARMLESS = [
    connects_by_tcp,
    connects_to_an_abstract_socket,
    connects_to_a_socket_file,
]
