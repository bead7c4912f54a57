#!/bin/bash
# projectcalico/calico#13925: a limit of connections rejects the rest with a RST, although the port is open.
. "$(dirname "$0")/lib.sh"
pair
peer_in_background s ok 198.18.3.2 8080 60
in_ns s nft -f - <<'N'
table ip f {
  set meter1 { type ipv4_addr; size 16; flags dynamic; }
  chain i { type filter hook input priority 0; tcp dport 8080 ct state new add @meter1 { ip saddr ct count over 3 } counter reject with tcp reset; }
}
N
ready s 8080
trace s s -i eth0
for n in $(seq 6); do peer_in_background c connect 198.18.3.2 8080 hold=3; sleep .1; done
finish 5
