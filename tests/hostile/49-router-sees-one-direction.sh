#!/bin/bash
# metallb/metallb#297, openwrt/openwrt#24873: the answer goes round the router; its conntrack calls the final ACK invalid.
. "$(dirname "$0")/lib.sh"
routed
link c eth1 198.18.9.1/24 s eth1 198.18.9.2/24
ip -n ${P}s route add 198.18.1.2 via 198.18.9.1 dev eth1
peer_in_background s ok 198.18.2.2 6443 60
in_ns r nft -f - <<'N'
table ip f {
  chain fw { type filter hook forward priority 0; policy accept; ct state invalid counter drop; }
}
N
ready s 6443
trace r r -i rc -i rs
peer c connect 198.18.2.2 6443 send=hello timeout=4
finish 5
