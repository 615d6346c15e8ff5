#!/usr/bin/env bash
# Builds the public suites that a network plugin is judged by, from the same go.mod (so mostly from what build-kube.sh compiled already):
# kube-e2e.test (upstream's sig-network tests, with Netpol) and policy-api-conformance (ClusterNetworkPolicy).
set -euo pipefail
cd "$(dirname "$0")"; . ./lib.sh; . ./go.sh
mkdir -p "$BIN"; export CGO_ENABLED=0
flags=(-trimpath -buildvcs=false -gcflags=all=-dwarf=false -ldflags '-s -w')
nice -n "${NICE:-10}" go test -c "${flags[@]}" -o "$BIN/policy-api-conformance" ./policyapi
nice -n "${NICE:-10}" go test -c "${flags[@]}" -o "$BIN/kube-e2e.test" ./e2e
nice -n "${NICE:-10}" go build "${flags[@]}" -o "$BIN/ginkgo" github.com/onsi/ginkgo/v2/ginkgo # runs kube-e2e.test in several processes
mkdir -p "$BIN/crds"
cp -f "$(go list -m -f '{{.Dir}}' sigs.k8s.io/network-policy-api)"/config/crd/experimental/policy.networking.k8s.io_clusternetworkpolicies.yaml "$BIN/crds/"
chmod u+w "$BIN/crds"/*
ls -l "$BIN"/{policy-api-conformance,kube-e2e.test}
