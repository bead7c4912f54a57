#!/bin/bash
# osrg/gobgp#1357: the listener takes packets of TTL 255 only (IP_MINTTL); the client sends 64.
. "$(dirname "$0")/lib.sh"
pair
peer_in_background s minttl 198.18.3.2 179 60 255
peer_in_background s ok 198.18.3.2 22 60
ready s 179
trace s s -i eth0
peer c connect 198.18.3.2 22 send=x
peer c connect 198.18.3.2 179 timeout=4.5
finish 4
