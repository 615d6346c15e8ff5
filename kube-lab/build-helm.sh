#!/usr/bin/env bash
# Builds Helm into $BIN from its Go module, with the flags of build-kube.sh: what both use of Kubernetes is compiled once. Does nothing when it is
# built already; what it built goes by its sources.
set -euo pipefail
cd "$(dirname "$0")"; . ./lib.sh
stamp=$(cat helm/go.mod helm/go.sum build-helm.sh | sha256sum | cut -c1-16)
[ "$(cat "$BIN/helm.stamp" 2>/dev/null)" = "$stamp" ] && { echo "helm is built"; exit 0; }
mkdir -p "$BIN"
. ./go.sh
cd helm
version=$(go list -m -f '{{.Version}}' helm.sh/helm/v3)
# Which Kubernetes `helm template` takes for granted is that of its client-go, as in Helm's own builds.
minor=$(go list -m -f '{{.Version}}' k8s.io/client-go | cut -d. -f2)
link="-s -w -X helm.sh/helm/v3/internal/version.version=$version"
for package in chartutil lint/rules; do link+=" -X helm.sh/helm/v3/pkg/$package.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/$package.k8sVersionMinor=$minor"; done
CGO_ENABLED=0 nice -n "${NICE:-10}" go build -trimpath -buildvcs=false -gcflags=all=-dwarf=false -ldflags "$link" -o "$BIN/helm" helm.sh/helm/v3/cmd/helm
echo "$stamp" >"$BIN/helm.stamp"
ls -l "$BIN/helm"
