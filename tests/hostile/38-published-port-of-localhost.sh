#!/bin/bash
# moby/moby#10900, thelounge/thelounge-docker#194: a proxy accepts for a container whose program listens on 127.0.0.1.
. "$(dirname "$0")/lib.sh"
netns c h k
link c eth0 198.18.1.2/24 h eth0 198.18.1.1/24
link h docker0 172.17.0.1/16 k eth0 172.17.0.2/16
peer_in_background k ok 127.0.0.1 9000 60
peer_in_background h proxy 198.18.1.1 9000 60 172.17.0.2 9000
ready h 9000
trace h h -i eth0 -i docker0
for n in 1 2 3; do peer c connect 198.18.1.1 9000 send=GET gap=.3; done
finish 2
