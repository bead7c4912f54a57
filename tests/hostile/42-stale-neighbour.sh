#!/bin/bash
# metallb/metallb#172, acassen/keepalived#893: the client's neighbour entry still has the old machine's link address.
. "$(dirname "$0")/lib.sh"
pair
peer_in_background s ok 198.18.3.2 443 60
ready s 443
peer c connect 198.18.3.2 443 send=x
trace s s -i eth0
trace c c -i eth0
peer c connect 198.18.3.2 443 send=x
ip -n ${P}c neigh replace 198.18.3.2 lladdr 52:54:00:de:ad:01 nud permanent dev eth0
peer c connect 198.18.3.2 443 timeout=4.5
finish 4
