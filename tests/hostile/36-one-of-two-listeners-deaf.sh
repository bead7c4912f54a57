#!/bin/bash
# envoyproxy/envoy#8031: two listeners share a port (SO_REUSEPORT); the draining one does not accept any more.
. "$(dirname "$0")/lib.sh"
pair
peer_in_background s reuse 198.18.3.2 8080 60
peer_in_background s deaf 198.18.3.2 8080 60 1 1
ready s 8080
trace s s -i eth0
for n in $(seq 14); do peer_in_background c connect 198.18.3.2 8080 send=x timeout=4.5 hold=1; done
finish 9
