#!/bin/bash
# chobits/ngx_http_proxy_connect_module#138: IPv6 has a route and no address of its own: EADDRNOTAVAIL.
. "$(dirname "$0")/lib.sh"
pair
in_ns c sysctl -qw net.ipv6.conf.eth0.addr_gen_mode=1
ip -n ${P}c -6 addr flush dev eth0; ip -n ${P}c -6 addr del ::1/128 dev lo
ip -n ${P}c -6 route add 2001:db8:99::/64 dev eth0
peer_in_background s ok 198.18.3.2 443 60
ready s 443
trace c c -i eth0
peer c connect 198.18.3.2 443 send=x
peer c connect 2001:db8:99::1 443
finish 12
