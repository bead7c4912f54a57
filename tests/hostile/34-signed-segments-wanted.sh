#!/bin/bash
# FRRouting/frr#20740, osrg/gobgp#2573: the listener asks this client for RFC 2385 signatures, and it sends none.
. "$(dirname "$0")/lib.sh"
pair
peer_in_background s md5 198.18.3.2 179 60 198.18.3.1
peer_in_background s ok 198.18.3.2 22 60
ready s 179
trace s s -i eth0
peer c connect 198.18.3.2 22 send=x
peer c connect 198.18.3.2 179 timeout=4.5
finish 4
