#!/bin/bash
# distribution/distribution#1872: `docker pause`: the kernel answers SYNs until the accept queue is full.
. "$(dirname "$0")/lib.sh"
pair
in_ns s $PY $HERE/peer.py ok 198.18.3.2 5000 60 2 & S=$!
ready s 5000
trace s s -i eth0
peer c connect 198.18.3.2 5000 send=x
STOPPED=$(pgrep -P $S); kill -STOP ${STOPPED:-$S}
for n in $(seq 8); do peer_in_background c connect 198.18.3.2 5000 send=x timeout=4; done
sleep 8
finish 1
kill -CONT ${STOPPED:-$S} 2>/dev/null
