#!/bin/bash
# cilium/cilium#45184: a service without backends; the program at connect4 fails the call with EPERM.
. "$(dirname "$0")/lib.sh"
pair
peer_in_background s ok 198.18.3.2 80 60
G=$(findmnt -nt cgroup2 -o TARGET | head -1)/$P; mkdir $G; GROUPS_MADE+=($G)
peer c policy $G connect4
ready s 80
trace c c -i eth0
peer c connect 198.18.3.2 80 send=x
in_ns c bash -c "echo \$\$ > $G/cgroup.procs; exec $PY $HERE/peer.py connect 198.18.3.2 80"
finish 12
