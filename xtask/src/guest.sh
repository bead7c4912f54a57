#!/bin/busybox sh
# The guest of `cargo xtask kernels`: its first and only process, on a machine that lives for one test. It traces the
# same traffic with each hook and tells what it saw in lines that begin with "@ ". It judges nothing: guest.rs does.

/bin/busybox --install -s /bin 2>/dev/null
export PATH=/bin
mkdir -p /proc /sys /dev /run /tmp
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run

# busybox's shell takes its own ip and tc before any on PATH.
ip() { /lab/ip "$@"; }
tc() { /lab/tc "$@"; }

# NAME INTERFACE [ARGUMENT]...: starts the tracer and returns when it traces. One that cannot is the end of the test.
start() {
    echo "@ run $1"
    interface=$2
    shift 2
    : >/tmp/errors
    /lab/tcptrace --json --all -i "$interface" "$@" >/tmp/lines 2>/tmp/errors &
    tracer=$!
    until grep -q 'tcptrace: tracing' /tmp/errors || [ ! -e /proc/$tracer/exe ]; do sleep 0.2; done
    [ -e /proc/$tracer/exe ] || { stop INT; poweroff -f; }
    cat /proc/$tracer/fdinfo/* | sed -n 's/^verified_insns:[^0-9]*/@ verified /p'
}

# SIGNAL: ends the tracer, and tells what it said and what of it is still there some seconds later.
stop() {
    kill -"$1" $tracer 2>/dev/null
    wait $tracer
    echo "@ exit $?"
    # Of a verifier's log only the end counts.
    { head -n 2 /tmp/errors; tail -n +3 /tmp/errors | tail -n 8; } | sed 's/^/@ error /'
    sed 's/^/@ line /' /tmp/lines
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        left >/tmp/left
        [ -s /tmp/left ] || break
        sleep 0.5
    done
    sed 's/^ */@ left /' /tmp/left
}

left() {
    { tc qdisc show dev "$interface"; tc filter show dev "$interface" ingress; tc filter show dev "$interface" egress
      ip link show dev "$interface"; } 2>/dev/null | grep -E 'clsact|bpf|xdp'
    ps | grep '[c]lsact-guard'
}

# Four attempts: refused, refused over IPv6, established and closed, and refused the other way.
traffic() {
    nc -w 5 10.0.0.2 81
    nc -w 5 fd00::2 82
    wget -q -O /dev/null http://10.0.0.2/init
    ip netns exec far nc -w 5 10.0.0.1 83
} </dev/null >/dev/null 2>&1

# Without a death to wait for there is only the clock.
until_told() {
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        [ "$(grep -c . /tmp/lines)" -lt 5 ] || return
        sleep 0.5
    done
}

echo "@ release $(uname -r)"
cd /modules
for module in *; do
    case $module in
        *.xz) xzcat "$module" >/tmp/module && insmod /tmp/module ;;
        *) insmod "$module" ;;
    esac
done
cd /

ip link set lo up
ip netns add far
ip -n far link set lo up
ip link add veth0 type veth peer name veth1 netns far
ip address add 10.0.0.1/24 dev veth0
ip address add fd00::1/64 dev veth0 nodad
ip link set veth0 up
ip -n far address add 10.0.0.2/24 dev veth1
ip -n far address add fd00::2/64 dev veth1 nodad
ip -n far link set veth1 up
ip netns exec far httpd -p 80 -h /
ip tuntap add tun0 mode tun
ip address add 10.0.1.1/24 dev tun0
ip link set tun0 up
# Both ends know each other's address before the first tracer looks.
ping -c 1 10.0.0.2 >/dev/null
ping -c 1 fd00::2 >/dev/null

# With their own log, the programs need more stack than without.
for hook in tc generic; do
    start $hook veth0 --hook $hook -vv
    traffic
    stop INT
done

# All that can be asked for makes the largest programs there are.
for hook in tc generic; do
    start asked-$hook veth0 --hook $hook -w /tmp/evidence.pcapng host 10.0.0.2 or host fd00::2 and not port 22
    traffic
    stop INT
done

for hook in auto xdp; do
    start killed-$hook veth0 --hook $hook
    traffic
    until_told
    stop KILL
done

# Nobody reads from this interface: the SYN leaves and stays without an answer.
start tun tun0 -vv
nc -w 2 10.0.1.2 80 </dev/null >/dev/null 2>&1
stop INT

echo "@ end"
poweroff -f
