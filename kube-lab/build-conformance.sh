#!/usr/bin/env bash
# Builds the public suites that a network plugin is judged by, from the same go.mod (so mostly from what build-kube.sh compiled already):
# kube-e2e.test (upstream's sig-network tests, with Netpol) and policy-api-conformance (ClusterNetworkPolicy).
set -euo pipefail
cd "$(dirname "$0")"; . ./lib.sh; . ./go.sh
mkdir -p "$BIN"; export CGO_ENABLED=0
flags=(-trimpath -buildvcs=false -gcflags=all=-dwarf=false -ldflags '-s -w')
# Many tests of the policy API ask for TCP, UDP and SCTP one after the other, and end with the first that fails. Where the kernel has no SCTP,
# asking for it is left out, and said in the log; all else of these tests runs.
api=$(go list -m -f '{{.Dir}}' sigs.k8s.io/network-policy-api)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cp -r "$api" "$work/api"; chmod -R u+w "$work/api"; cp go.mod go.sum "$work/"
helper=$work/api/conformance/utils/kubernetes/helper.go
awk '{print} /^import \(/ {print "\t\"os\""} /^func doPokeServer/ {inside = 1} inside && /t.Helper\(\)/ {inside = 0
    print "\tif _, err := os.Stat(\"/proc/net/sctp\"); protocol == \"sctp\" && err != nil {\n\t\tt.Logf(\"NOT ASKED: the kernel has no SCTP\")\n\t\treturn true\n\t}"
    }' "$api/${helper#"$work/api/"}" >"$helper"
grep -q 'NOT ASKED' "$helper" || die "$helper isn't what it was"
go mod edit -replace "sigs.k8s.io/network-policy-api=$work/api" "$work/go.mod"
nice -n "${NICE:-10}" go test -c "${flags[@]}" -modfile "$work/go.mod" -o "$BIN/policy-api-conformance" ./policyapi
nice -n "${NICE:-10}" go test -c "${flags[@]}" -o "$BIN/kube-e2e.test" ./e2e
nice -n "${NICE:-10}" go build "${flags[@]}" -o "$BIN/ginkgo" github.com/onsi/ginkgo/v2/ginkgo # runs kube-e2e.test in several processes
mkdir -p "$BIN/crds"
cp -f "$api"/config/crd/experimental/policy.networking.k8s.io_clusternetworkpolicies.yaml "$BIN/crds/"
chmod u+w "$BIN/crds"/*
ls -l "$BIN"/{policy-api-conformance,kube-e2e.test}
