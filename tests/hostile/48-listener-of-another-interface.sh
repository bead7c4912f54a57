#!/bin/bash
# kamailio/kamailio#3716, PowerDNS/pdns#8284: the listener is bound to one interface (SO_BINDTODEVICE), the SYN comes in at another.
. "$(dirname "$0")/lib.sh"
pair
link s mgmt 198.18.7.1/24 s mgmt1 -
peer_in_background s device 0.0.0.0 8080 60 mgmt
peer_in_background s ok 198.18.3.2 22 60
ready s 8080
trace s s -i eth0
peer c connect 198.18.3.2 22 send=x
peer c connect 198.18.3.2 8080
finish 2
