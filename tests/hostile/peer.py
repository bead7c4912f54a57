#!/usr/bin/env python3
"""The programs at both ends of the live scenes: `peer.py WHAT ...`; see the functions. Nothing here knows tcptrace."""

import errno
import os
import select
import signal
import socket
import struct
import sys
import threading
import time


def name(error):
    return errno.errorcode.get(error.errno, str(error)) if getattr(error, "errno", None) else str(error)


def listener(host, port, backlog=128, options=()):
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    for level, option, value in options:
        s.setsockopt(level, option, value)
    s.bind((host, port))
    s.listen(backlog)
    return s


def answer(c):
    try:
        while c.recv(4096):
            c.sendall(b"ok\n")
    except OSError:
        pass
    c.close()


def serve(s, seconds):
    s.settimeout(0.2)
    end = time.time() + seconds
    while time.time() < end:
        try:
            c, _ = s.accept()
        except OSError:
            continue
        c.settimeout(seconds)
        threading.Thread(target=answer, args=(c,), daemon=True).start()


def ok(host, port, seconds, backlog=128):
    """A server that answers."""
    serve(listener(host, int(port), int(backlog)), float(seconds))


def deaf(host, port, seconds, backlog, reuse="0"):
    """A server that never accepts."""
    options = [(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)] if reuse == "1" else []
    s = listener(host, int(port), int(backlog), options)
    time.sleep(float(seconds))
    s.close()


def reuse(host, port, seconds):
    """A server that answers and shares its port with another one."""
    serve(listener(host, int(port), 128, [(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)]), float(seconds))


def device(host, port, seconds, interface):
    """A server that is bound to an interface."""
    serve(listener(host, int(port), 128, [(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")]), float(seconds))


def minttl(host, port, seconds, least):
    """A server that takes no packet with a lower TTL."""
    serve(listener(host, int(port), 128, [(socket.IPPROTO_IP, 21, int(least))]), float(seconds))


def md5(host, port, seconds, of):
    """A server that asks for signed segments (RFC 2385) of one client."""
    key = b"secret"
    who = struct.pack("=HH4s120x", socket.AF_INET, 0, socket.inet_aton(of))
    value = who + struct.pack("=BBHI80s", 0, 0, len(key), 0, key)
    serve(listener(host, int(port), 128, [(socket.IPPROTO_TCP, 14, value)]), float(seconds))


def reload(host, port):
    """A server that queues connections, closes its listener with the queue in it, and starts again."""
    s = listener(host, int(port), 16)
    time.sleep(1.2)
    s.close()
    time.sleep(0.3)
    serve(listener(host, int(port), 16), 4)


def proxy(host, port, seconds, backend, backend_port):
    """Accepts, connects onward, and closes when that fails; what the client has sent stays unread."""
    s = listener(host, int(port))
    s.settimeout(0.2)
    end = time.time() + float(seconds)
    while time.time() < end:
        try:
            c, _ = s.accept()
        except OSError:
            continue
        c.settimeout(None)
        time.sleep(0.02)
        try:
            b = socket.create_connection((backend, int(backend_port)), 2)
            c.sendall(b"ok\n")
            b.close()
        except OSError as e:
            print("proxy: onward", name(e), flush=True)
        c.close()


def full(host, port, seconds, most):
    """A server that serves a few at a time and closes on the rest at once, as sshd past MaxStartups does."""
    s = listener(host, int(port))
    s.settimeout(0.2)
    held, end = [], time.time() + float(seconds)
    while time.time() < end:
        try:
            c, _ = s.accept()
        except OSError:
            continue
        if len(held) < int(most):
            held.append(c)
            c.sendall(b"SSH-2.0-server\r\n")
        else:
            time.sleep(0.01)  # the client's banner is here, and stays unread
            c.close()


def connect(host, port, *more):
    """n= tries one after another, hold= seconds, send=, timeout=, src=address@port, gap= seconds."""
    o = dict(m.split("=", 1) for m in more)
    kept = []
    for _ in range(int(o.get("n", 1))):
        s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        s.settimeout(float(o.get("timeout", 3)))
        began, said = time.time(), "connected"
        try:
            if "src" in o:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                a, p = o["src"].split("@")
                s.bind((a, int(p)))
            s.connect((host, int(port)) if "%" not in host else socket.getaddrinfo(host, int(port))[0][4])
            if "send" in o:
                s.sendall(o["send"].encode())
                said += ", got %r" % s.recv(100)
        except OSError as e:
            said = name(e)
        print("%s:%s %s after %.3f s" % (host, port, said, time.time() - began), flush=True)
        kept.append(s)
        if "hold" not in o:
            s.close()
        time.sleep(float(o.get("gap", 0)))
    if "hold" in o:
        time.sleep(float(o["hold"]))


def interrupted(host, port):
    """A blocking connect(2) that a signal interrupts, and that then succeeds."""
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    s = socket.socket()
    s.connect((host, int(port)))  # Python polls after EINTR
    s.sendall(b"x")
    print("interrupted: got", s.recv(9), flush=True)
    s.close()


def asked_again(host, port):
    """connect(2) again and again on a non-blocking socket: EINPROGRESS, EALREADY, and EISCONN or success."""
    s = socket.socket()
    s.setblocking(False)
    seen = []
    for _ in range(200):
        e = s.connect_ex((host, int(port)))
        if not seen or seen[-1] != errno.errorcode.get(e, e):
            seen.append(errno.errorcode.get(e, e))
        if e in (0, errno.EISCONN):
            break
        time.sleep(0.02)
    seen.append(errno.errorcode.get(s.connect_ex((host, int(port))), 0))
    print("asked again:", seen, flush=True)
    s.close()


def udp_probe(host, port):
    """What getaddrinfo(3) does to sort addresses: connect(2) of a UDP socket, here without a route."""
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    try:
        s.connect((host, int(port)))
        print("udp: connected", flush=True)
    except OSError as e:
        print("udp:", name(e), flush=True)


def twice(host, port, src):
    """Two connections with the same local port to the same place: the second connect(2) fails."""
    a, p = src.split("@")
    kept = []
    for _ in range(2):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        s.bind((a, int(p)))
        try:
            s.connect((host, int(port)))
            print("connected", flush=True)
        except OSError as e:
            print(name(e), flush=True)
        kept.append(s)
    time.sleep(1)


def policy(group, hook):
    """Loads a cgroup program that says no, at `egress` (packets) or `connect4` (the call), and attaches it."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)

    def bpf(command, attributes):
        b = ctypes.create_string_buffer(attributes, len(attributes))
        r = libc.syscall(321, command, b, len(attributes))
        if r < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return r

    kind, attach = (8, 1) if hook == "egress" else (18, 10)
    code = struct.pack("<BBhi", 0xB7, 0, 0, 0) + struct.pack("<BBhi", 0x95, 0, 0, 0)
    text, licence = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"GPL")
    program = bpf(5, struct.pack("<IIQQIIQII16sII", kind, 2, ctypes.addressof(text), ctypes.addressof(licence), 0, 0, 0, 0, 0, b"policy", 0, attach))
    bpf(8, struct.pack("<IIII", os.open(group, os.O_RDONLY), program, attach, 0))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
