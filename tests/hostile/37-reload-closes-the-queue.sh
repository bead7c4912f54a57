#!/bin/bash
# jcmoraisjr/haproxy-ingress#899: a reload closes a listener that has connections in its queue; the kernel resets them.
. "$(dirname "$0")/lib.sh"
pair
trace s s -i eth0
peer_in_background s reload 198.18.3.2 8080
ready s 8080
for n in 1 2 3 4; do peer_in_background c connect 198.18.3.2 8080 send=x timeout=4; done
sleep 1.5
peer c connect 198.18.3.2 8080 send=x n=3
finish 2
