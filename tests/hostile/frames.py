"""Packets for the captures of the hostile reading: checksums, headers, options, and one attempt with both sequence spaces.

It uses the standard library only. The captures themselves are in make.py.
"""

import os
import random
import socket
import struct

FIN, SYN, RST, PSH, ACK, ECE, CWR = 1, 2, 4, 8, 16, 64, 128
MASK = 0xFFFFFFFF


def ones(data):
    """The internet checksum."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def mac(text):
    return bytes.fromhex(text.replace(":", ""))


def address(text):
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


class Host:
    """One end as the capture sees it: its addresses, its hops away, its way of numbering and its options."""

    def __init__(self, ip, ether, ttl=64, window=64240, mss=1460, wscale=7, sack=True, ts=True, clock=None, ident="count", df=True):
        self.ip, self.ether, self.ttl, self.window = ip, ether, ttl, window
        self.mss, self.wscale, self.sack, self.ts = mss, wscale, sack, ts
        self.random = random.Random(ip + ether)
        self.clock = self.random.getrandbits(30) if clock is None else clock
        self.ident, self.next_ident, self.df = ident, self.random.getrandbits(16), df

    def identification(self):
        if self.ident == "zero":
            return 0
        self.next_ident = (self.next_ident + 1) & 0xFFFF
        return self.next_ident

    def tsval(self, at):
        return (self.clock + int(at * 1000)) & MASK

    def options(self, at, echo, syn, peer=None, extra=b""):
        """The options of a segment; `peer` is who offered first, and what it did not offer is left out."""
        ts, sack, wscale = self.ts, self.sack, self.wscale is not None
        if peer is not None:
            ts, sack, wscale = ts and peer.ts, sack and peer.sack, wscale and peer.wscale is not None
        out = b""
        if syn:
            out += struct.pack(">BBH", 2, 4, self.mss)
            if sack:
                out += b"\x04\x02"
        if ts:
            out += (b"" if syn and sack else b"\x01\x01") + struct.pack(">BBII", 8, 10, self.tsval(at), echo)
        if syn and wscale:
            out += b"\x01" + struct.pack(">BBB", 3, 3, self.wscale)
        out += extra
        while len(out) % 4:
            out += b"\x01"
        return out


def tcp_segment(src, dst, sport, dport, flags, seq, ack, window, options=b"", payload=b"", checksum="good"):
    head = struct.pack(">HHIIHHHH", sport, dport, seq & MASK, ack & MASK, ((20 + len(options)) // 4) << 12 | flags, window, 0, 0)
    body = head + options + payload
    s, d = address(src), address(dst)
    pseudo = s + d + (struct.pack(">IHBB", len(body), 0, 0, 6) if ":" in src else struct.pack(">BBH", 0, 6, len(body)))
    if checksum == "good":
        value = ~ones(pseudo + body) & 0xFFFF
    elif checksum == "offload":  # what a sender's capture shows: the pseudo-header's sum only
        value = ones(pseudo)
    else:
        value = (~ones(pseudo + body) & 0xFFFF) ^ 0x5A3C
    return body[:16] + struct.pack(">H", value) + body[18:]


def ip_packet(src, dst, protocol, body, ttl, ident, df=True, tos=0):
    s, d = address(src), address(dst)
    if ":" in src:
        return struct.pack(">IHBB", 6 << 28 | tos << 20, len(body), protocol, ttl) + s + d + body
    head = struct.pack(">BBHHHBBH", 0x45, tos, 20 + len(body), ident, 0x4000 if df else 0, ttl, protocol, 0) + s + d
    return head[:10] + struct.pack(">H", ~ones(head) & 0xFFFF) + head[12:] + body


def icmp(kind, code, quoted):
    body = struct.pack(">BBHI", kind, code, 0, 0) + quoted
    return body[:2] + struct.pack(">H", ~ones(body) & 0xFFFF) + body[4:]


def icmp6(src, dst, kind, code, quoted):
    body = struct.pack(">BBHI", kind, code, 0, 0) + quoted
    pseudo = address(src) + address(dst) + struct.pack(">IHBB", len(body), 0, 0, 58)
    return body[:2] + struct.pack(">H", ~ones(pseudo + body) & 0xFFFF) + body[4:]


class Capture:
    START = 1764500000

    def __init__(self, name, linktype=1):
        self.name, self.linktype, self.frames = name, linktype, []

    def frame(self, at, data):
        self.frames.append((at, data))

    def ether(self, at, src, dst, packet, vlan=None):
        kind = b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00"
        tag = b"" if vlan is None else b"\x81\x00" + struct.pack(">H", vlan)
        self.frame(at, (mac(dst) + mac(src) + tag + kind + packet).ljust(60, b"\0"))

    def arp(self, at, op, sha, spa, tha, tpa, dst="ff:ff:ff:ff:ff:ff"):
        body = struct.pack(">HHBBH", 1, 0x0800, 6, 4, op) + mac(sha) + address(spa) + mac(tha) + address(tpa)
        self.frame(at, (mac(dst) + mac(sha) + b"\x08\x06" + body).ljust(60, b"\0"))

    def save(self):
        here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "captures")
        os.makedirs(here, exist_ok=True)
        with open(os.path.join(here, self.name + ".pcap"), "wb") as out:
            out.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, self.linktype))
            for at, data in sorted(self.frames, key=lambda f: f[0]):
                nanos = int(round(at * 1e9))
                out.write(struct.pack("<IIII", self.START + nanos // 10**9, nanos % 10**9, len(data), len(data)) + data)


class Flow:
    """One attempt: who talks to whom, with both sequence spaces."""

    def __init__(self, cap, client, server, cport, sport, via=None, back=None, vlan=None, isn=None, answer_isn=None):
        self.cap, self.c, self.s, self.cport, self.sport, self.vlan = cap, client, server, cport, sport, vlan
        rng = random.Random(f"{cap.name} {client.ip} {cport} {server.ip} {sport}")
        self.isn = rng.getrandbits(32) if isn is None else isn
        self.answer = rng.getrandbits(32) if answer_isn is None else answer_isn
        self.cseq, self.sseq = (self.isn + 1) & MASK, (self.answer + 1) & MASK
        self.via = via or server.ether  # the link address that the client sends to
        self.back = back or client.ether  # the link address that the server sends to
        self.echo_c = self.echo_s = 0

    def send(self, at, from_client, flags, seq, ack=0, payload=b"", options=None, window=None, ttl=None, extra=b"", checksum="good", ident=None, source=None, src_ip=None, tos=0, vlan=None):
        a, b = (self.c, self.s) if from_client else (self.s, self.c)
        ap, bp = (self.cport, self.sport) if from_client else (self.sport, self.cport)
        src = src_ip or a.ip
        if options is None:
            echo = self.echo_c if from_client else self.echo_s
            syn = bool(flags & SYN)
            peer = None if from_client and syn else b
            options = b"" if flags & RST else a.options(at, echo if flags & ACK else 0, syn, peer, extra)
        if a.ts and not flags & RST:
            if from_client:
                self.echo_s = a.tsval(at)
            else:
                self.echo_c = a.tsval(at)
        win = window if window is not None else (a.window if flags & SYN else 502)
        segment = tcp_segment(src, b.ip, ap, bp, flags, seq, ack, win, options, payload, checksum)
        packet = ip_packet(src, b.ip, 6, segment, ttl or a.ttl, a.identification() if ident is None else ident, a.df, tos)
        out, to = (a.ether, self.via) if from_client else (source or a.ether, self.back)
        self.cap.ether(at, out, to, packet, self.vlan if vlan is None else vlan)
        return packet

    def syn(self, at, **more):
        return self.send(at, True, SYN | more.pop("flags", 0), self.isn, **more)

    def synack(self, at, **more):
        seq = more.pop("seq", self.answer)
        return self.send(at, False, SYN | ACK, seq, more.pop("ack", self.isn + 1), **more)

    def ack(self, at, **more):
        return self.send(at, True, ACK, self.cseq, more.pop("ack", self.sseq), **more)

    def sack(self, at, **more):
        return self.send(at, False, ACK, self.sseq, more.pop("ack", self.cseq), **more)

    def say(self, at, data, advance=True, **more):
        packet = self.send(at, True, PSH | ACK, self.cseq, self.sseq, payload=data, **more)
        if advance:
            self.cseq = (self.cseq + len(data)) & MASK
        return packet

    def tell(self, at, data, advance=True, **more):
        packet = self.send(at, False, PSH | ACK, self.sseq, self.cseq, payload=data, **more)
        if advance:
            self.sseq = (self.sseq + len(data)) & MASK
        return packet

    def refuse(self, at, **more):
        """RST/ACK in answer to the SYN."""
        return self.send(at, False, RST | ACK, more.pop("seq", 0), more.pop("ack", self.isn + 1), window=more.pop("window", 0), **more)

    def close(self, at, rtt=0.0004):
        self.send(at, True, FIN | ACK, self.cseq, self.sseq)
        self.cseq += 1
        self.send(at + rtt, False, FIN | ACK, self.sseq, self.cseq)
        self.sseq += 1
        self.send(at + rtt + 0.00005, True, ACK, self.cseq, self.sseq)

    def serve(self, at, rtt, request=b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", answer=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", finish=True, syn=True):
        """A connection that works, from its SYN (or its SYN/ACK, at `at`) on."""
        if syn:
            self.syn(at)
            at += rtt
        self.synack(at)
        self.ack(at + 0.00004)
        self.say(at + 0.0002, request)
        self.tell(at + 0.0002 + rtt, answer)
        if finish:
            self.close(at + 0.0005 + rtt, rtt)
