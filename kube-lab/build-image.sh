#!/usr/bin/env bash
# Makes the two images of the lab, $BIN/pause.tar and $BIN/agnhost.tar: a static pause with a program that sends at once beside it, and upstream's agnhost beside Debian's static busybox.
# agnhost goes by each of the tags that the suites ask for.
set -euo pipefail
cd "$(dirname "$0")"; . ./lib.sh; . ./go.sh
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
mkdir -p "$work/pause" "$work/agnhost"/{bin,etc,tmp,uploads}
gcc -static -Os -s -o "$work/pause/pause" image/pause.c
gcc -static -Os -s -Wall -Wextra -Werror -o "$work/pause/first" image/first.c
../packaging/make-image "$BIN/pause.tar" "$work/pause" '["/pause"]' '[]' "$PAUSE_IMAGE"
CGO_ENABLED=0 nice -n "${NICE:-10}" go build -trimpath -buildvcs=false -gcflags=all=-dwarf=false -ldflags '-s -w' -o "$work/agnhost/agnhost" k8s.io/kubernetes/test/images/agnhost
ln -s agnhost "$work/agnhost/agnhost-2"
busybox=/bin/busybox
if ! file -L "$busybox" 2>/dev/null | grep -q 'static'; then # not installed as such: it would replace the machine's busybox
    (cd "$work" && apt-get -o APT::Sandbox::User=root download busybox-static >/dev/null && dpkg -x busybox-static_*.deb . && rm -f ./*.deb); busybox=$work/bin/busybox
fi
cp "$busybox" "$work/agnhost/bin/busybox"; cp image/bash "$work/agnhost/bin/bash"
for name in sh ls cat ping ip nc hostname sleep env grep id date; do ln -s busybox "$work/agnhost/bin/$name"; done
echo 'root:x:0:0:root:/:/bin/sh' >"$work/agnhost/etc/passwd"; echo 'root:x:0:' >"$work/agnhost/etc/group"
../packaging/make-image "$BIN/agnhost.tar" "$work/agnhost" '["/agnhost"]' '["pause"]' $(printf 'registry.k8s.io/e2e-test-images/agnhost:%s ' 2.59 2.45 2.43)
ls -l "$BIN"/{pause,agnhost}.tar
