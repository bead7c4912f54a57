#!/usr/bin/env python3
"""Writes the captures of the hostile reading (LIST.md) into captures/, byte for byte the same each time.

It uses the standard library only. It knows nothing of tcptrace: what each capture shows is in LIST.md.
"""

import random
import struct

from frames import ACK, CWR, ECE, FIN, MASK, PSH, RST, SYN, Capture, Flow, Host, address, icmp, icmp6, ip_packet, mac, ones, tcp_segment

CM, SM, GM = "52:54:00:0a:00:01", "52:54:00:0b:00:02", "52:54:00:01:00:fe"


def duplicate_syn_rst():
    cap = Capture("01-duplicate-syn-rst")
    board = Host("192.168.7.20", SM, ttl=64, window=8192, wscale=None, sack=False, ts=False, ident="count", df=False)
    pc = Host("192.168.7.5", CM)
    Flow(cap, pc, board, 40100, 5555).serve(0.0, 0.0021)
    for n, start in enumerate((2.0, 8.0)):
        f = Flow(cap, pc, board, 40110 + n, 5555)
        f.syn(start)
        f.synack(start + 0.0019)  # lost behind the place of capture
        f.syn(start + 1.03)
        f.refuse(start + 1.0321)
    Flow(cap, pc, board, 40120, 5555).serve(10.5, 0.002)
    cap.save()


def second_synack_isn():
    cap = Capture("02-second-synack-isn")
    server = Host("10.20.0.9", SM, window=14600, ts=True)
    client = Host("10.20.0.4", CM)
    Flow(cap, client, server, 51000, 80).serve(0.0, 0.0003)
    f = Flow(cap, client, server, 51002, 80)
    f.syn(1.0)
    f.synack(1.0002)
    f.syn(2.01)
    f.synack(2.0102, seq=f.answer + 1)
    f.sseq = (f.answer + 2) & MASK
    f.ack(2.0104)
    for at in (2.0108, 2.22, 2.65, 3.5, 5.2):
        f.say(at, b"GET / HTTP/1.0\r\n\r\n", advance=False)
    Flow(cap, client, server, 51004, 80).serve(6.0, 0.0003)
    cap.save()


def challenge_then_retry():
    cap = Capture("03-challenge-then-retry")
    server = Host("172.20.1.8", SM)
    client = Host("172.20.1.3", CM, ts=False, wscale=5, window=65535)
    old = Flow(cap, client, server, 45678, 8080)
    old.syn(0.0)
    old.synack(0.0004)
    old.ack(0.0005)
    old.say(0.001, b"ping\n")
    old.tell(0.0015, b"pong\n")
    old.send(0.01, False, FIN | ACK, old.sseq, old.cseq)  # the server closes first: it keeps TIME-WAIT
    old.sseq += 1
    old.send(0.0102, True, FIN | ACK, old.cseq, old.sseq)
    old.cseq += 1
    old.sack(0.0105)
    new = Flow(cap, client, server, 45678, 8080, isn=(old.isn - 70000) & MASK)
    new.syn(12.0)
    new.send(12.0004, False, ACK, old.sseq, old.cseq)  # challenge
    new.send(12.0005, True, RST, old.cseq, 0, window=0)  # its number is what the challenge acknowledged
    new.syn(13.01)
    new.synack(13.0104)
    new.ack(13.0105)
    new.say(13.011, b"ping\n")
    new.tell(13.0115, b"pong\n")
    new.close(13.02)
    cap.save()


def checks_around_restart():
    cap = Capture("04-checks-around-restart")
    proxy, backend = Host("10.2.2.53", CM), Host("10.2.2.51", SM, window=65160)
    port = 52600
    for n in range(12):
        at = 2.0 * n + 0.003 * (n % 3)
        f = Flow(cap, proxy, backend, port + 2 * n, 9001)
        f.syn(at)
        if n in (5, 6, 7):
            f.refuse(at + 0.00003)
        else:
            f.synack(at + 0.00002)
            f.send(at + 0.00009, True, RST | ACK, f.cseq, f.sseq, options=proxy.options(at, f.echo_c, False), window=502)
    cap.save()


def checks_of_many():
    cap = Capture("05-checks-of-many")
    server = Host("172.16.8.30", SM)
    app = Host("172.16.8.77", "52:54:00:0c:00:07", ttl=63)
    for n in range(28):  # seven addresses of a load balancer, each each 6 s
        who = n % 7
        lb = Host(f"100.97.45.{10 + who}", GM, ttl=103, window=29200, ts=False, wscale=9, ident="count")
        at = 0.4 + n * 0.857
        f = Flow(cap, lb, server, 20000 + 37 * n, 9000, back=GM)
        f.syn(at)
        f.synack(at + 0.00003)
        f.ack(at + 0.00081)
        f.send(at + 0.00083, True, RST | ACK, f.cseq, f.sseq, window=229)
    Flow(cap, app, server, 40010, 9000).serve(3.1, 0.0005)
    Flow(cap, app, server, 40012, 9000).serve(11.1, 0.0005)
    cap.save()


def vxlan_bad_checksum():
    cap = Capture("06-vxlan-bad-checksum")
    node, peer = Host("10.1.0.13", CM), Host("10.1.0.11", SM)
    pod, web = Host("10.244.90.192", "66:aa:aa:aa:aa:01", mss=65495, ts=False), Host("10.244.143.193", "66:aa:aa:aa:aa:02", ts=False)

    def wrap(at, inner_src, inner_dst, packet, outer_src, outer_dst, good, port=26898):
        frame = mac(inner_dst) + mac(inner_src) + b"\x08\x00" + packet
        body = b"\x08\0\0\0" + struct.pack(">I", 4096 << 8) + frame
        udp = struct.pack(">HHHH", port, 4789, 8 + len(body), 0) + body
        pseudo = address(outer_src.ip) + address(outer_dst.ip) + struct.pack(">BBH", 0, 17, len(udp))
        right = ~ones(pseudo + udp) & 0xFFFF or 0xFFFF
        check = right if good else 0xFFFF ^ (0x2A if right == 0xFFFF else 0)
        udp = udp[:6] + struct.pack(">H", check) + udp[8:]
        cap.ether(at, outer_src.ether, outer_dst.ether, ip_packet(outer_src.ip, outer_dst.ip, 17, udp, 64, outer_src.identification(), False))

    def inner(flow, at, who, flags, seq, ack=0, payload=b""):
        a, b = (pod, web) if who == "c" else (web, pod)
        ap, bp = (flow, 80) if who == "c" else (80, flow)
        seg = tcp_segment(a.ip, b.ip, ap, bp, flags, seq, ack, 43690, a.options(at, 0, bool(flags & SYN)), payload)
        return ip_packet(a.ip, b.ip, 6, seg, 64, a.identification())

    # A direct connection pod to pod works; its outer checksums are right.
    for at, who, flags, seq, ack, payload in ((0.0, "c", SYN, 100, 0, b""), (0.0006, "s", SYN | ACK, 900, 101, b""), (0.0008, "c", ACK, 101, 901, b""), (0.001, "c", PSH | ACK, 101, 901, b"GET /\r\n"), (0.002, "s", PSH | ACK, 901, 108, b"ok"), (0.003, "c", FIN | ACK, 108, 903, b""), (0.0035, "s", FIN | ACK, 903, 109, b""), (0.0037, "c", ACK, 109, 904, b"")):
        a, b = (pod, web) if who == "c" else (web, pod)
        o, p = (node, peer) if who == "c" else (peer, node)
        wrap(at, a.ether, b.ether, inner(39200, at, who, flags, seq, ack, payload), o, p, True, 26000)
    for at in (2.0, 3.0006, 5.0046, 9.018, 17.03):  # through the service's address: translated, and the outer sum is wrong
        wrap(at, pod.ether, web.ether, inner(39274, at, "c", SYN, 2295512834), node, peer, False)
    cap.save()


def synack_bad_checksum():
    cap = Capture("07-synack-bad-checksum")
    server = Host("10.11.1.2", SM, ts=False, wscale=None, sack=False, window=512, ident="zero")
    client = Host("10.11.1.1", CM)
    f = Flow(cap, client, server, 43210, 8000)
    for at in (0.0, 1.02, 2.03, 3.05, 5.1, 9.2):
        f.syn(at)
        f.synack(at + 0.0001, checksum="bad")
    cap.save()


def offloaded_sender():
    cap = Capture("08-offloaded-sender")
    client = Host("192.168.50.10", CM)
    good = Host("192.168.50.20", SM)
    for n in range(4):
        f = Flow(cap, client, good, 50000 + n, 8085)
        at = 0.5 * n
        f.syn(at, checksum="offload")
        f.synack(at + 0.0003)
        f.ack(at + 0.00034, checksum="offload")
        f.say(at + 0.0004, b"GET /flower HTTP/1.0\r\n\r\n", checksum="offload")
        f.tell(at + 0.001, b"HTTP/1.0 200 OK\r\n\r\nok")
        f.send(at + 0.002, True, FIN | ACK, f.cseq, f.sseq, checksum="offload")
        f.cseq += 1
        f.send(at + 0.0023, False, FIN | ACK, f.sseq, f.cseq)
        f.sseq += 1
        f.ack(at + 0.00235, checksum="offload")
    silent = Host("192.168.50.20", SM)
    f = Flow(cap, client, silent, 50020, 9100)
    for at in (3.0, 4.01, 6.03, 10.1):
        f.syn(at, checksum="offload")
    f = Flow(cap, client, good, 50030, 8085)
    at = 8.0
    f.syn(at, checksum="offload")
    f.synack(at + 0.0003)
    f.ack(at + 0.00034, checksum="offload")
    f.say(at + 0.0004, b"GET /flower HTTP/1.0\r\n\r\n", checksum="offload")
    f.tell(at + 0.001, b"HTTP/1.0 200 OK\r\n\r\nok")
    cap.save()


def one_way_gateway():
    cap = Capture("09-one-way-gateway")
    client = Host("192.168.42.10", CM)
    vip = Host("192.168.66.1", SM)
    other = Host("192.168.66.2", "52:54:00:0b:00:99", ttl=63)
    Flow(cap, client, other, 39990, 6443, via=GM).serve(0.0, 0.0009)
    f = Flow(cap, client, vip, 40000, 6443, via=GM)  # SYN by the gateway, the answer straight from the node
    f.syn(1.0)
    f.synack(1.0007)
    f.ack(1.00075)
    hello = b"\x16\x03\x01\x00\xc8" + b"\x01" * 200
    for at in (1.0012, 1.21, 1.63, 2.5, 4.2):
        f.say(at, hello, advance=False)
    for at in (2.01, 4.02, 8.05):
        f.synack(at)
        f.ack(at + 0.00006)
    f.send(9.0, True, RST | ACK, f.cseq + len(hello), f.sseq, window=502)
    cap.save()


def time_wait_silence():
    cap = Capture("10-time-wait-silence")
    server = Host("192.168.122.90", SM, window=65535, wscale=6, ts=True)
    client = Host("192.168.122.91", CM, window=65535, wscale=6, ts=False)
    old = Flow(cap, client, server, 13261, 80, isn=2844048132)
    old.syn(0.0)
    old.synack(0.0001)
    old.ack(0.0002)
    old.say(0.0003, b"GET /index.html HTTP/1.1\r\n\r\n")
    old.tell(0.0006, b"HTTP/1.1 200 OK\r\n\r\nhello")
    old.send(0.001, False, FIN | ACK, old.sseq, old.cseq)
    old.sseq += 1
    old.send(0.0011, True, FIN | ACK, old.cseq, old.sseq)
    old.cseq += 1
    old.sack(0.0012)
    again = Flow(cap, client, server, 13261, 80, isn=2844048132 - 900000)
    for at in (31.2, 32.2, 34.2, 38.2):
        again.syn(at)
    for n, at in enumerate((31.0, 31.9, 33.5, 36.0, 39.0)):
        Flow(cap, client, server, 13270 + n, 80).serve(at, 0.0002)
    cap.save()


def small_backlog():
    cap = Capture("11-small-backlog")
    board = Host("192.168.1.77", SM, ttl=255, window=5840, mss=1460, wscale=None, sack=False, ts=False, df=False)
    pc = Host("192.168.1.5", CM, ts=False, wscale=8)
    page = Flow(cap, pc, board, 60000, 80)
    page.serve(0.0, 0.004, finish=True)
    flows = [Flow(cap, pc, board, 60002 + n, 80) for n in range(6)]
    for n, f in enumerate(flows):
        f.syn(1.0 + 0.0004 * n)
    flows[0].serve(1.006, 0.004, syn=False)
    for n, (f, answered) in enumerate(zip(flows[1:], (1, 1, 3, 3, 3))):
        if answered == 3:
            f.syn(2.01 + 0.0004 * n)
        at = 1.0 + (1.01 if answered == 1 else 3.03) + 0.03 * n
        f.serve(at, 0.004)
    cap.save()


def closed_port_icmp():
    cap = Capture("12-closed-port-icmp")
    board = Host("10.40.0.10", SM, ttl=64, window=5840, wscale=None, sack=False, ts=False, df=False)
    pc = Host("10.40.0.1", CM)
    Flow(cap, pc, board, 40000, 80).serve(0.0, 0.003)
    for n, port in enumerate((81, 502)):
        f = Flow(cap, pc, board, 40010 + n, port)
        at = 1.0 + n
        quoted = f.syn(at)
        body = icmp(3, 3, quoted[:28])
        cap.ether(at + 0.0031, board.ether, pc.ether, ip_packet(board.ip, pc.ip, 1, body, board.ttl, board.identification(), False))
    cap.save()


def gateway_table_full():
    cap = Capture("13-gateway-table-full")
    esp = Host("192.168.4.31", CM, ttl=255, window=5744, wscale=None, sack=False, ts=False, df=False)
    pc = Host("192.168.4.9", "52:54:00:0c:00:09", ts=True)
    cloud = Host("51.15.34.30", GM, ttl=52, window=28960)
    router = Host("192.168.4.1", GM, ttl=64)
    Flow(cap, pc, cloud, 50100, 8085).serve(0.0, 0.021)
    for n in range(3):
        f = Flow(cap, esp, cloud, 4096 + n, 8085)
        at = 1.0 + 1.5 * n
        quoted = f.syn(at)
        cap.ether(at + 0.0018, router.ether, esp.ether, ip_packet(router.ip, esp.ip, 1, icmp(3, 0, quoted[:28]), 64, router.identification(), False))
        Flow(cap, pc, cloud, 50110 + n, 8085).serve(at + 0.4, 0.0213)
    cap.save()


def gave_up_after_250ms():
    cap = Capture("14-gave-up-after-250ms")
    client = Host("192.168.0.12", CM)
    far = Host("45.79.238.217", GM, ttl=47, window=65160)
    near = Host("104.16.132.229", GM, ttl=58)
    Flow(cap, client, near, 41000, 443).serve(0.0, 0.009)
    for n in range(5):
        f = Flow(cap, client, far, 41010 + 2 * n, 443)
        at = 1.0 + 1.3 * n
        f.syn(at)
        # the program closes its socket after 0.25 s; the answer comes after 0.29 s and finds no socket
        f.synack(at + 0.2903 + 0.0011 * n)
        f.send(at + 0.2904 + 0.0011 * n, True, RST, f.isn + 1, 0, window=0)
    cap.save()


def dead_ipv6_hosts():
    cap = Capture("15-dead-ipv6-hosts")
    pc6 = Host("2001:db8:5::31", CM)
    pc4 = Host("192.168.5.31", CM)
    router = Host("2001:db8:5::1", GM, ttl=64)
    web = Host("203.0.113.44", GM, ttl=54)
    for n, target in enumerate(("2001:db8:a::44", "2001:db8:a::45")):
        gone = Host(target, GM, ttl=54)
        f = Flow(cap, pc6, gone, 50000 + n, 80)
        at = 3.07 * n
        quoted = f.syn(at)
        f.syn(at + 1.02)
        f.syn(at + 2.03)
        body = icmp6(router.ip, pc6.ip, 1, 3, quoted)
        cap.ether(at + 3.05, router.ether, pc6.ether, ip_packet(router.ip, pc6.ip, 58, body, 64, 0))
    Flow(cap, pc4, web, 50010, 80).serve(6.14, 0.04)
    cap.save()


def mirrored_twice():
    cap = Capture("16-mirrored-twice")
    client, server = Host("10.10.10.5", CM), Host("10.10.20.7", SM)

    def both(packet, at, from_client):
        """The mirror port shows the packet before and after it was routed between two VLANs."""
        routed = bytearray(packet)
        routed[8] -= 1
        routed[10:12] = b"\0\0"
        routed[10:12] = struct.pack(">H", ~ones(bytes(routed[:20])) & 0xFFFF)
        first, second = (CM, SM) if from_client else (SM, CM)
        cap.ether(at, first, GM, packet, 10 if from_client else 20)
        cap.ether(at + 0.000006, GM, second, bytes(routed), 20 if from_client else 10)

    scratch = Capture("scratch")
    for n in range(4):
        f = Flow(scratch, client, server, 55000 + n, 443 if n != 2 else 8443)
        at = 0.3 * n
        both(f.syn(at), at, True)
        if n == 2:
            both(f.refuse(at + 0.0004), at + 0.0004, False)
            continue
        both(f.synack(at + 0.0004), at + 0.0004, False)
        both(f.ack(at + 0.0005), at + 0.0005, True)
        both(f.say(at + 0.0006, b"x" * 40), at + 0.0006, True)
        both(f.tell(at + 0.0012, b"y" * 60), at + 0.0012, False)
        both(f.send(at + 0.002, True, FIN | ACK, f.cseq, f.sseq), at + 0.002, True)
        f.cseq += 1
        both(f.send(at + 0.0024, False, FIN | ACK, f.sseq, f.cseq), at + 0.0024, False)
        f.sseq += 1
        both(f.ack(at + 0.0025), at + 0.0025, True)
    cap.save()


def any_with_nat():
    cap = Capture("17-any-with-nat", linktype=276)
    inside = Host("172.17.0.2", "02:42:ac:11:00:02", mss=1100, window=25088)
    outside = Host("192.168.0.5", CM, mss=1100, window=25088)
    server_in = Host("188.40.167.82", "02:42:aa:aa:aa:01", ttl=53, window=64296)
    server_out = Host("188.40.167.82", GM, ttl=54, window=64296)
    scratch = Capture("scratch")

    def sll2(at, packet, index, kind, ether):
        cap.frame(at, struct.pack(">HHIHBB", 0x0800, 0, index, 1, kind, 6) + mac(ether) + b"\0\0" + packet)

    for n in range(2):
        port, at = 46064 + 6 * n, 0.5 * n
        a = Flow(scratch, inside, server_in, port, 443, isn=1766412215 + 99991 * n, answer_isn=3011200000 + 777 * n)
        b = Flow(scratch, outside, server_out, port, 443, isn=a.isn, answer_isn=a.answer)
        b.c.clock, b.s.clock = a.c.clock, a.s.clock
        steps = (("syn", 0.0, True, ()), ("synack", 0.031, False, ()), ("ack", 0.0311, True, ()), ("say", 0.0316, True, (b"\x16\x03\x01" + b"h" * 120,)), ("tell", 0.064, False, (b"\x16\x03\x03" + b"s" * 90,)))
        for name, dt, out, args in steps:
            p = getattr(a, name)(at + dt, *args)
            q = getattr(b, name)(at + dt, *args)
            if out:
                q = q[:8] + bytes([p[8] - 1]) + q[9:]
                q = q[:10] + b"\0\0" + q[12:]
                q = q[:10] + struct.pack(">H", ~ones(q[:20]) & 0xFFFF) + q[12:]
                sll2(at + dt, p, 7, 3, inside.ether)  # the container's veth, promiscuous
                sll2(at + dt + 0.000002, p, 4, 0, inside.ether)  # docker0, in
                sll2(at + dt + 0.000017, q, 2, 4, CM)  # ens3, out, translated
            else:
                sll2(at + dt, q, 2, 0, GM)
                sll2(at + dt + 0.000011, p, 4, 4, "02:42:aa:aa:aa:01")
                sll2(at + dt + 0.000014, p, 7, 4, "02:42:aa:aa:aa:01")
    cap.save()


def injected_rst():
    cap = Capture("18-injected-rst")
    client = Host("192.168.3.8", CM)
    dns = Host("1.1.1.1", GM, ttl=51, window=65535, wscale=13, ident="zero")
    Flow(cap, client, dns, 47000, 443).serve(0.0, 0.171)
    for n in range(3):
        f = Flow(cap, client, dns, 47002 + 2 * n, 443)
        at = 2.0 + 1.5 * n
        f.syn(at)
        f.refuse(at + 0.0381, ttl=61 + 24 * n, window=0, ident=0x3000 + 911 * n)
        f.synack(at + 0.1713)  # the real answer, late; nobody is there any more
        f.send(at + 0.17135, True, RST, f.isn + 1, 0, window=0)
    Flow(cap, client, dns, 47020, 443).serve(8.0, 0.1709)
    cap.save()


def rst_before_round_trip():
    cap = Capture("19-rst-before-round-trip")
    client = Host("192.168.0.2", CM, ttl=128, wscale=8, ts=False)
    server = Host("198.51.100.77", GM, ttl=44, window=42340, mss=1400, wscale=11, ts=False)
    Flow(cap, client, server, 51490, 443).serve(0.0, 0.318)
    for n in range(2):
        f = Flow(cap, client, server, 51506 + n, 443)
        at = 2.0 + 3 * n
        f.syn(at)
        f.synack(at + 0.318)
        f.ack(at + 0.3181)
        f.say(at + 0.3186, b"\x16\x03\x01\x02\x00" + b"c" * 512)
        f.send(at + 0.326, False, RST | ACK, f.sseq, f.cseq, window=0, payload=b"\0" * 10, ttl=57, ident=0x1234 + n, options=b"")
        f.sack(at + 0.637)
        f.tell(at + 0.639, b"\x16\x03\x03" + b"S" * 1300)
        f.send(at + 0.6391, True, RST, f.cseq, 0, window=0)
    cap.save()


def userspace_client():
    cap = Capture("20-userspace-client")
    client = Host("198.51.100.58", GM, ttl=54, mss=536, wscale=14, sack=False, ts=False, window=65535, ident="zero")
    server = Host("203.0.113.9", SM, ttl=63, mss=536, wscale=14, sack=False, ts=False, window=65535, ident="zero")
    for n, port in enumerate((34519, 14720)):
        f = Flow(cap, client, server, port, 21080, back=GM, isn=0, answer_isn=0)
        for k in range(6):
            at = 8.2 * n + 1.002 * k
            f.syn(at)
            f.synack(at + 0.0003)
        f.send(8.2 * n + 6.1, True, RST, 0, 0, window=65535)
    cap.save()


def answer_goes_elsewhere():
    cap = Capture("21-answer-goes-elsewhere")
    client = Host("10.1.1.1", "00:00:10:01:01:01", ttl=62, window=29200)
    server = Host("172.16.138.110", SM, window=28960)
    Flow(cap, client, server, 55340, 22).serve(0.0, 0.0003, request=b"SSH-2.0-a\r\n", answer=b"SSH-2.0-b\r\n")
    f = Flow(cap, client, server, 55346, 22)
    f.syn(2.0)
    f.synack(2.0003)
    for at in (3.01, 5.06, 9.09, 17.1):
        f.synack(at)
    Flow(cap, client, server, 55352, 22).serve(6.0, 0.0003, request=b"SSH-2.0-a\r\n", answer=b"SSH-2.0-b\r\n")
    Flow(cap, client, server, 55358, 22).serve(12.0, 0.0003, request=b"SSH-2.0-a\r\n", answer=b"SSH-2.0-b\r\n")
    cap.save()


def ecn_refused():
    cap = Capture("22-ecn-refused")
    mac_os = Host("10.10.10.159", CM, ttl=64, window=65535, wscale=6, ident="zero", df=False)
    linux = Host("10.10.10.160", "52:54:00:0c:00:60")
    board = Host("10.10.20.176", GM, ttl=63, window=6000, wscale=None, sack=False, ts=False, df=False)
    Flow(cap, linux, board, 42000, 80).serve(0.0, 0.035)
    for n in range(3):
        f = Flow(cap, mac_os, board, 60939 + n, 80)
        at = 1.0 + 0.7 * n
        f.syn(at, flags=ECE | CWR)
        f.refuse(at + 0.0358)
    Flow(cap, linux, board, 42002, 80).serve(2.0, 0.0355)
    Flow(cap, mac_os, board, 60950, 80).serve(4.0, 0.0356)  # after ECN was switched off
    cap.save()


def two_clocks_behind_nat():
    cap = Capture("23-two-clocks-behind-nat")
    server = Host("172.31.9.10", SM)
    ahead = Host("203.0.113.50", GM, ttl=52, clock=773600000)
    behind = Host("203.0.113.50", GM, ttl=52, clock=470300000)
    plain = Host("203.0.113.50", GM, ttl=52, ts=False)
    for n, at in enumerate((0.0, 2.1, 5.0, 8.2)):
        Flow(cap, ahead, server, 30000 + n, 389).serve(at, 0.011)
    for n, start in enumerate((1.0, 4.0)):
        f = Flow(cap, behind, server, 31000 + n, 389)
        for dt in (0.0, 1.0, 3.0, 7.0):
            f.syn(start + dt)
    Flow(cap, plain, server, 32000, 389).serve(6.0, 0.011)
    cap.save()


def address_moves():
    cap = Capture("24-address-moves")
    a_mac, b_mac = "52:54:00:aa:00:01", "52:54:00:bb:00:02"
    client = Host("192.168.123.10", CM)
    first, second = Host("192.168.123.239", a_mac, clock=1000000), Host("192.168.123.239", b_mac, clock=777000000)
    for n in range(3):
        Flow(cap, client, first, 40000 + n, 443).serve(0.5 * n, 0.0004)
    f = Flow(cap, client, first, 40010, 443)  # node A dies
    f.syn(2.0)
    f.syn(3.02)
    f.syn(4.03)
    for at in (4.5, 4.6):
        cap.arp(at, 1, b_mac, "192.168.123.239", "00:00:00:00:00:00", "192.168.123.239")
    g = Flow(cap, client, second, 40010, 443, isn=f.isn, answer_isn=f.answer ^ 0x5555)
    g.syn(5.06)
    g.serve(5.0604, 0.0004, syn=False)
    for n in range(3):
        Flow(cap, client, second, 40020 + n, 443).serve(6.0 + 0.5 * n, 0.0004)
    h = Flow(cap, client, second, 40030, 8443)
    h.syn(8.0)
    h.refuse(8.0004)
    cap.save()


def two_ports_one_host():
    cap = Capture("25-two-ports-one-host")
    one, two = "52:54:00:ee:00:01", "52:54:00:ee:00:02"
    client = Host("10.0.0.50", CM)
    host = Host("10.0.0.1", one)
    cap.arp(0.0, 1, CM, "10.0.0.50", "00:00:00:00:00:00", "10.0.0.1")
    cap.arp(0.0002, 2, one, "10.0.0.1", CM, "10.0.0.50", CM)
    cap.arp(0.00023, 2, two, "10.0.0.1", CM, "10.0.0.50", CM)
    for n in range(4):
        f = Flow(cap, client, host, 41000 + n, 80, via=two)
        at = 0.1 + 0.4 * n
        f.syn(at)
        f.synack(at + 0.0003, source=one)
        f.ack(at + 0.00035)
        f.say(at + 0.0005, b"GET / HTTP/1.0\r\n\r\n")
        f.tell(at + 0.001, b"HTTP/1.0 200 OK\r\n\r\nok", source=two if n % 2 else one)
        f.close(at + 0.01)
    g = Flow(cap, client, host, 41010, 8080, via=two)
    g.syn(3.0)
    g.refuse(3.0003, source=one)
    cap.save()


def ports_of_the_balancer_used_up():
    cap = Capture("26-balancer-ports-used-up")
    pod = Host("10.240.0.66", CM)
    database, other = Host("20.50.60.70", GM, ttl=50, window=64800, ts=False), Host("20.50.60.80", GM, ttl=50, ts=False)
    for n in range(18):
        Flow(cap, pod, database, 33000 + 2 * n, 5432).serve(0.25 * n, 0.002, request=b"\0\0\0\x08\x04\xd2\x16\x2f", answer=b"S")
    for n in range(3):
        f = Flow(cap, pod, database, 33100 + 2 * n, 5432)
        at = 4.8 + 0.4 * n
        for dt in (0.0, 1.02, 2.04, 3.06, 4.09):
            f.syn(at + dt)
    for n in range(4):
        Flow(cap, pod, other, 33200 + 2 * n, 443).serve(5.0 + 1.5 * n, 0.002)
    Flow(cap, pod, database, 33130, 5432).serve(13.0, 0.002, request=b"\0\0\0\x08\x04\xd2\x16\x2f", answer=b"S")
    cap.save()


def syn_twice_after_arp():
    cap = Capture("27-syn-twice-after-arp")
    board = Host("192.168.9.30", CM, window=5840, wscale=None, sack=True, ts=True, df=False)
    server = Host("192.168.9.1", SM)
    cap.arp(0.0, 1, CM, board.ip, "00:00:00:00:00:00", server.ip)
    cap.arp(1.2, 1, CM, board.ip, "00:00:00:00:00:00", server.ip)
    cap.arp(1.2003, 2, SM, server.ip, CM, board.ip, CM)
    f = Flow(cap, board, server, 5001, 7)
    f.syn(1.2005)
    f.syn(1.20056)
    f.synack(1.20071)
    f.synack(1.20075)
    f.ack(1.2012)
    f.ack(1.20126)
    f.say(1.21, b"echo")
    f.tell(1.2104, b"echo")
    f.close(1.3)
    cap.save()


def data_in_syn():
    cap = Capture("28-data-in-syn")
    client, server = Host("2001:db8:1::5", CM), Host("2001:db8:2::53", GM, ttl=57)
    cookie = b"\x22\x0a" + bytes(range(8))
    query = b"\x00\x1d" + b"\xab\xcd\x01\x00\0\x01\0\0\0\0\0\0\x07example\x03org\0\0\x01\0\x01"
    for n in range(3):
        f = Flow(cap, client, server, 36000 + n, 53)
        at = 0.4 * n
        taken = n != 1  # the second time the server does not take the data
        f.syn(at, payload=query, extra=cookie)
        full = f.isn + 1 + (len(query) if taken else 0)
        f.synack(at + 0.012, ack=full)
        f.cseq = full & MASK
        f.ack(at + 0.0121)
        if not taken:
            f.say(at + 0.0122, query)
        f.tell(at + 0.02, b"\x00\x2d" + b"r" * 45)
        f.close(at + 0.03, 0.012)
    cap.save()


def time_wait_refused():
    cap = Capture("29-time-wait-refused")
    server = Host("165.225.1.20", GM, ttl=50, window=49640)
    client = Host("10.88.0.4", CM)
    old = Flow(cap, client, server, 50123, 443)
    old.syn(0.0)
    old.synack(0.021)
    old.ack(0.0211)
    old.say(0.022, b"\x16\x03\x01" + b"h" * 80)
    old.tell(0.045, b"\x16\x03\x03" + b"s" * 80)
    old.send(0.05, False, FIN | ACK, old.sseq, old.cseq)
    old.sseq += 1
    old.send(0.051, True, FIN | ACK, old.cseq, old.sseq)
    old.cseq += 1
    old.sack(0.073)
    again = Flow(cap, client, server, 50123, 443, isn=old.isn - 5_000_000)
    for n in range(3):
        Flow(cap, client, server, 50200 + n, 443).serve(10.0 + 0.7 * n, 0.0211)
    again.syn(11.0)
    again.refuse(11.0211)
    Flow(cap, client, server, 50210, 443).serve(12.4, 0.0212)
    cap.save()


def reconnect_storm():
    cap = Capture("30-reconnect-storm")
    broker = Host("203.0.113.70", SM, ttl=64)
    spare = Host("203.0.113.71", "52:54:00:0b:00:71", ttl=64)
    rng = random.Random(30)
    devices = [Host(f"100.64.{rng.randrange(4)}.{20 + n}", GM, ttl=rng.choice((48, 50, 51, 53)), window=64240) for n in range(30)]
    for n, d in enumerate(devices):  # before: each is served
        f = Flow(cap, d, broker, 40000 + n, 8883, back=GM)
        at = 0.02 * n
        f.syn(at)
        f.synack(at + 0.0001)
        f.ack(at + 0.04)
    for n, d in enumerate(devices):  # the broker stops answering: a single try of 0.9 s each, then the spare one
        at = 6.0 + rng.random() * 1.5
        Flow(cap, d, broker, 42000 + n, 8883, back=GM).syn(at)
        g = Flow(cap, d, spare, 43000 + n, 8883, back=GM)
        g.syn(at + 0.9)
        g.synack(at + 0.9001)
        g.ack(at + 0.94)
    end = Flow(cap, devices[0], spare, 44000, 8883, back=GM)
    end.syn(14.0)
    end.synack(14.0001)
    end.ack(14.04)
    cap.save()


for make in (
    duplicate_syn_rst, second_synack_isn, challenge_then_retry, checks_around_restart, checks_of_many,
    vxlan_bad_checksum, synack_bad_checksum, offloaded_sender, one_way_gateway, time_wait_silence,
    small_backlog, closed_port_icmp, gateway_table_full, gave_up_after_250ms, dead_ipv6_hosts,
    mirrored_twice, any_with_nat, injected_rst, rst_before_round_trip, userspace_client,
    answer_goes_elsewhere, ecn_refused, two_clocks_behind_nat, address_moves, two_ports_one_host,
    ports_of_the_balancer_used_up, syn_twice_after_arp, data_in_syn, time_wait_refused, reconnect_storm,
):
    make()
