#!/bin/bash
# systemd/systemd#6764: IPAddressDeny= is a cgroup program at egress; connect(2) hangs and nothing is on the wire.
. "$(dirname "$0")/lib.sh"
pair
peer_in_background s ok 198.18.3.2 80 60
G=$(findmnt -nt cgroup2 -o TARGET | head -1)/$P; mkdir $G; GROUPS_MADE+=($G)
peer c policy $G egress
ready s 80
trace c c -i eth0
peer c connect 198.18.3.2 80 send=x
in_ns c bash -c "echo \$\$ > $G/cgroup.procs; exec $PY $HERE/peer.py connect 198.18.3.2 80 timeout=4.5"
finish 4
