#!/bin/bash
# ironcore-dev/dpservice#815, kubernetes/cloud-provider-aws#1160: a balancer sends the client's SYN back to the client.
. "$(dirname "$0")/lib.sh"
netns c r
link c eth0 10.0.0.10/24 r rc 10.0.0.1/24
ip -n ${P}c route add default via 10.0.0.1
in_ns r sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.rc.send_redirects=0
in_ns r nft 'add table ip n; add chain ip n p { type nat hook prerouting priority -100; }; add rule ip n p ip daddr 194.11.242.75 dnat to 10.0.0.10'
peer_in_background c ok 10.0.0.10 80 60
ready c 80
trace c c -i eth0
peer c connect 194.11.242.75 80 timeout=4.5
finish 4
