#!/bin/bash
# haumacher/phoneblock#493, libp2p/go-libp2p#262: the source port is fixed, and this very connection exists already.
. "$(dirname "$0")/lib.sh"
pair
peer_in_background s ok 198.18.3.2 5060 60
ready s 5060
trace c c -i eth0
peer c twice 198.18.3.2 5060 198.18.3.1@15060
finish 12
