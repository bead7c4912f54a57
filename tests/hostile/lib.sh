# Common part of the live scenes. Root is needed. Every scene makes its own network namespaces and removes them.
#   TCPTRACE=program OUT=directory ./31-….sh    runs the scene beside the tracer; its lines go to OUT/NAME.OBSERVER.json
#   without TCPTRACE the scene runs beside tcpdump, to show that the packets are what LIST.md says
set -u
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
NAME=$(basename "$0" .sh)
OUT=${OUT:-$(mktemp -d)}
P=hx$$
PY=$(command -v python3); PY=$("$PY" -c 'import sys; print(sys.executable)')
NAMESPACES=() GROUPS_MADE=() TRACERS=() WORK=$(mktemp -d)
in_ns() { local n=$1; shift; nsenter --net=/run/netns/$P$n "$@"; }
clean() {
  trap - EXIT INT TERM
  exec 2>/dev/null
  local n
  for n in "${NAMESPACES[@]:-}"; do
    [ -n "$n" ] || continue
    ip netns pids "$P$n" 2>/dev/null | xargs -r kill -9 2>/dev/null
    ip netns del "$P$n" 2>/dev/null
  done
  for n in "${GROUPS_MADE[@]:-}"; do [ -n "$n" ] && { xargs -r kill -9 <"$n/cgroup.procs"; sleep .2; rmdir "$n"; } 2>/dev/null; done
  [ -n "${GUARD:-}" ] && kill "$GUARD" $(pgrep -P "$GUARD") 2>/dev/null
  rm -rf "$WORK"
}
trap clean EXIT
trap 'exit 1' INT TERM
(exec >/dev/null 2>&1; sleep 80; kill -TERM $$) & GUARD=$!
# netns NAME...
netns() { local n; for n in "$@"; do ip netns add "$P$n"; NAMESPACES+=("$n"); ip -n "$P$n" link set lo up; in_ns "$n" sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0; done; }
# link A IF-A ADDRESS-A B IF-B ADDRESS-B
link() {
  ip -n "$P$1" link add "$2" type veth peer name "$5" netns "$P$4"
  [ "$3" = - ] || ip -n "$P$1" addr add "$3" dev "$2"
  [ "$6" = - ] || ip -n "$P$4" addr add "$6" dev "$5"
  ip -n "$P$1" link set "$2" up; ip -n "$P$4" link set "$5" up
}
# c 198.18.1.2 - r - s 198.18.2.2
routed() {
  netns c r s
  link c eth0 198.18.1.2/24 r rc 198.18.1.1/24
  link r rs 198.18.2.1/24 s eth0 198.18.2.2/24
  in_ns r sysctl -qw net.ipv4.ip_forward=1
  ip -n ${P}c route add default via 198.18.1.1; ip -n ${P}s route add default via 198.18.2.1
}
# c 198.18.3.1 - s 198.18.3.2
pair() { netns c s; link c eth0 198.18.3.1/24 s eth0 198.18.3.2/24; }
peer() { local n=$1; shift; in_ns "$n" "$PY" "$HERE/peer.py" "$@"; }
peer_in_background() { local n=$1; shift; peer "$n" "$@" & }
# ready NAMESPACE PORT: waits until somebody listens there
ready() { local k; for k in $(seq 60); do in_ns "$1" ss -Hltn "sport = :$2" | grep -q . && return; sleep .1; done; }
# trace OBSERVER NAMESPACE ARGUMENTS...
trace() {
  local who=$1 n=$2 k; shift 2
  if [ -n "${TCPTRACE:-}" ]; then
    : >"$OUT/$NAME.$who.err"
    (exec nsenter --net=/run/netns/$P$n "$TCPTRACE" --all --json "$@" >"$OUT/$NAME.$who.json" 2>"$OUT/$NAME.$who.err") & TRACERS+=($!)
    for k in $(seq 300); do grep -qs 'tracing;' "$OUT/$NAME.$who.err" && break; sleep .1; done
    grep -qs 'tracing;' "$OUT/$NAME.$who.err" || exit 75 # the tracer did not come up
  else
    (exec nsenter --net=/run/netns/$P$n tcpdump -ni any -tt tcp or icmp or icmp6 >"$OUT/$NAME.$who.dump" 2>/dev/null) & TRACERS+=($!)
    sleep 1
  fi
  sleep .3
}
finish() {
  sleep "${1:-1}"
  local t
  for t in "${TRACERS[@]}"; do kill -INT "$t" 2>/dev/null; done
  for t in "${TRACERS[@]}"; do wait "$t" 2>/dev/null; done
  if [ -z "${TCPTRACE:-}" ]; then for t in "$OUT/$NAME".*.dump; do echo "-- $t"; head -n "${LINES_SHOWN:-14}" "$t" | cut -c19-150; done; fi
}
