#!/bin/bash
# The empty root of `cargo xtask package --check`, in mount and network namespaces of its own. $1 is a folder with the
# binary and nothing else; what the binary prints goes to files in $2. It judges nothing: empty_root.rs does.
set -euo pipefail
root=$1 told=$2

run() { chroot "$root" /tcptrace "$@"; }

run --version -v >"$told/version"

# BTF, and the interfaces of this network namespace.
ip link set lo up
mkdir "$root/sys"
mount -t sysfs none "$root/sys"
run -i lo --json -c 1 --duration 60 -w /failed.pcapng dst port 9 >"$told/live" 2>"$told/banner" &
tracer=$!
until grep -q tracing "$told/banner"; do
    kill -0 "$tracer" || { cat "$told/banner" >&2; exit 1; }
    sleep 0.05
done
# Nothing listens there.
if (: </dev/tcp/127.0.0.1/9) 2>/dev/null; then exit 1; fi
wait "$tracer"
umount "$root/sys"
rmdir "$root/sys"

run -r /failed.pcapng --json >"$told/offline"

# No getent here: musl asks files and dns, and the third service is named in the output.
mkdir "$root/etc"
echo 'hosts: files mymachines dns' >"$root/etc/nsswitch.conf"
echo '127.0.0.1 there.example' >"$root/etc/hosts"
code=0
run diagnose --json there.example:9 >"$told/diagnose" || code=$?
test "$code" = 3
