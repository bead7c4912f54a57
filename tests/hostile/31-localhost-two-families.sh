#!/bin/bash
# geldata/gel-cli#797: localhost is ::1 first, and the server listens on 127.0.0.1 only.
. "$(dirname "$0")/lib.sh"
netns c
peer_in_background c ok 127.0.0.1 5656 60
ready c 5656
trace c c -i lo
peer c connect ::1 5656
peer c connect 127.0.0.1 5656 send=x
finish 2
