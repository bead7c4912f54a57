#!/bin/bash
# NixOS/infra#352: sshd past MaxStartups closes at once; the client's banner is unread, so the kernel sends a RST.
. "$(dirname "$0")/lib.sh"
pair
peer_in_background s full 198.18.3.2 22 60 2
ready s 22
trace s s -i eth0
for n in $(seq 6); do peer_in_background c connect 198.18.3.2 22 send=SSH-2.0-c hold=2; sleep .1; done
finish 4
