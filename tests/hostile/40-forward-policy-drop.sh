#!/bin/bash
# moby/moby#30338: Docker sets the FORWARD policy to DROP; the router's rules accept another port only.
. "$(dirname "$0")/lib.sh"
routed
peer_in_background s ok 198.18.2.2 10050 60; peer_in_background s ok 198.18.2.2 22 60
in_ns r nft -f - <<'N'
table ip filter {
  chain FORWARD { type filter hook forward priority 0; policy drop; ct state established,related accept; tcp dport 22 accept; }
  chain INPUT { type filter hook input priority 0; policy accept; tcp dport 9999 drop; }
}
N
ready s 10050
trace r r -i rc -i rs
peer c connect 198.18.2.2 22 send=x
peer c connect 198.18.2.2 10050 timeout=4.5
finish 4
