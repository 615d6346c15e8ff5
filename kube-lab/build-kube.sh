#!/usr/bin/env bash
# Builds a real Kubernetes (etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kube-proxy, kubelet, kubectl) into $BIN as ONE
# program with a symlink for each component. Needs the Go module proxy, nothing else. Does nothing when it is built already;
# what it built goes by its sources, so a changed go.mod builds anew.
set -euo pipefail
cd "$(dirname "$0")"; . ./lib.sh
version=$(awk '$1 == "k8s.io/kubernetes" {print $2}' go.mod)
stamp=$(cat go.mod go.sum kube/*.go build-kube.sh | sha256sum | cut -c1-16)
[ "$(cat "$BIN/kube.stamp" 2>/dev/null)" = "$stamp" ] && { echo "kube $version is built"; exit 0; }
mkdir -p "$BIN"
. ./go.sh
# -dwarf=false: nobody debugs it, and the compiler has less to write. The version is what `kubectl version` and the API's /version say.
info="k8s.io/component-base/version k8s.io/client-go/pkg/version"
link="-s -w"
for package in $info; do link+=" -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=$(echo "$version" | cut -d. -f2) -X $package.gitTreeState=clean"; done
CGO_ENABLED=0 nice -n "${NICE:-10}" go build -trimpath -buildvcs=false -gcflags=all=-dwarf=false -ldflags "$link" -o "$BIN/kube" ./kube
for name in etcd kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl; do ln -sf kube "$BIN/$name"; done
echo "$stamp" >"$BIN/kube.stamp"
ls -l "$BIN/kube"
