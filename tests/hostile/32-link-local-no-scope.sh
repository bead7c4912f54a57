#!/bin/bash
# grpc/grpc-swift-nio-transport#147: connect(2) to a link-local address without its interface.
. "$(dirname "$0")/lib.sh"
pair; sleep 2
peer_in_background s ok :: 50051 60
A=$(ip -n ${P}s -6 -o addr show dev eth0 scope link | awk '{sub("/.*","",$4); print $4}')
ready s 50051
trace c c -i eth0
peer c connect $A 50051
peer c connect $A%eth0 50051 send=x 2>&1 | tail -1
finish 12
