#!/bin/bash
# rust-lang/rust#116132, march-language/march#320, luasocket#99: connect(2) is interrupted, or asked again; all succeed.
. "$(dirname "$0")/lib.sh"
pair
peer_in_background s ok 198.18.3.2 8080 60
ready s 8080
peer c connect 198.18.3.2 8080 >/dev/null
trace c c -i eth0
for what in interrupted asked_again; do
  # the neighbour's answer comes a second late: both SYNs wait for it
  ip -n ${P}c neigh flush dev eth0; in_ns s sysctl -qw net.ipv4.conf.eth0.arp_ignore=8
  peer c $what 198.18.3.2 8080 & J=$!
  sleep .6; in_ns s sysctl -qw net.ipv4.conf.eth0.arp_ignore=0; wait $J
done
peer c udp_probe 2001:db8:9::1 80
finish 4
