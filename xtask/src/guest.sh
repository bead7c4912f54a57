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

# PORT SETTING VALUE: what becomes of connections beyond a limit of TCP's, which is the whole machine's. A server that ends
# while its client has most of the answer to read yet resets it then. Whoever asks a closed port is refused as ever, and
# who asks for a word is served.
short() {
    before=$(aborts Memory)
    serve "$1" '</dev/zero'
    ask "$1" :
    until_is pages 512
    fine=$(cat /proc/sys/net/ipv4/"$2")
    echo "$3" >/proc/sys/net/ipv4/"$2"
    nc -w 5 10.0.0.2 "9$1" </dev/null
    wget -q -O /dev/null http://10.0.0.2/tmp/word
    kill $server
    until_is 'aborts Memory' "$before"
    echo "$fine" >/proc/sys/net/ipv4/"$2"
    read_on
    echo "@ fact TCPAbortOnMemory grew by $(($(aborts Memory) - before))"
}

# PORT: a server that ends before it has read what its client wrote resets it, too, whatever memory there is.
rude() {
    before=$(aborts Close)
    serve "$1" '-e sleep 60'
    ask "$1" echo
    kill $server
    until_is 'aborts Close' "$before"
    read_on
    echo "@ fact TCPAbortOnClose grew by $(($(aborts Close) - before))"
}

# PORT REST: has nc listen far away. What is started becomes nc itself, to be killed by its number.
serve() {
    /lab/ip netns exec far sh -c "exec nc -l -p $1 $2" >/dev/null 2>&1 &
    server=$!
    until ip netns exec far netstat -ltn | grep -q ":$1 "; do sleep 0.2; done
}

# PORT COMMAND: connects, does that, and reads nothing for now.
ask() {
    rm -f /tmp/asked /tmp/over
    nc 10.0.0.2 "$1" -e sh -c "$2; >/tmp/asked; until [ -e /tmp/over ]; do sleep 0.2; done; cat >/dev/null" 2>/tmp/client &
    client=$!
    until [ -e /tmp/asked ]; do sleep 0.2; done
}

# Has it read to the end, and tells what that was.
read_on() {
    >/tmp/over
    wait $client
    sed 's/^/@ fact client: /' /tmp/client
}

# The pages that all sockets of TCP take.
pages() { sed -n 's/^TCP:.* mem //p' /proc/net/sockstat; }

# NAME: how often TCP far away has reset a connection for this reason.
aborts() {
    ip netns exec far awk -v name="TCPAbortOn$1" '
        $1 == "TcpExt:" && at { print $at }
        $1 == "TcpExt:" { for (i = 2; i <= NF; i++) if ($i == name) at = i }' /proc/net/netstat
}

# FIGURE NUMBER: waits until it is greater, but not for ever.
until_is() {
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        [ "$($1)" -gt "$2" ] && return
        sleep 0.5
    done
}

# Without a death to wait for there is only the clock.
until_told() {
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        [ "$(grep -c . /tmp/lines)" -lt "${1:-5}" ] || return
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
# As much as TCP has to hold before it is counted: each CPU keeps 1 MiB to itself (SK_MEMORY_PCPU_RESERVE).
ip netns exec far sysctl -q -w net.ipv4.tcp_wmem='4096 4194304 4194304'
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
nc -w 1 10.0.1.2 80 </dev/null >/dev/null 2>&1
stop INT

echo word >/tmp/word
start memory veth0
short 84 tcp_mem '1 1 1'
short 85 tcp_max_orphans 0
# So much later that what was counted there is not taken for this one's.
sleep 2
rude 86
until_told 12
stop INT

echo "@ end"
poweroff -f
