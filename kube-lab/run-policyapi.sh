#!/usr/bin/env bash
# run-policyapi.sh [TEST]: the network policy API's conformance tests (ClusterNetworkPolicy) against the lab's cluster, all or one by its short name.
# Upstream's report goes to $LAB/log/policyapi.yaml (and to the folder REPORTS), the log to policyapi.log. Left out: what is SCTP alone where the kernel has none, and
# nodes as peers of a rule, which Calico doesn't know either.
set -euo pipefail
reports=${REPORTS:+$(realpath "$REPORTS")}
cd "$(dirname "$0")"; . ./lib.sh
mkdir -p "$LAB/log"
kubectl apply --server-side -f "$BIN/crds" >/dev/null
kubectl wait --for condition=Established --timeout 60s -f "$BIN/crds" >/dev/null
skip=; [ -e /proc/net/sctp ] || skip=CNPAdminTierEgressSCTP,CNPAdminTierIngressSCTP,CNPBaselineTierEgressSCTP,CNPBaselineTierIngressSCTP
in_net "$KUBE_NETNS" env KUBECONFIG="$PKI/admin.kubeconfig" "$BIN/policy-api-conformance" -test.v -test.timeout 60m ${1:+-test.run "TestConformance/$1"} -skip "$skip" \
    -supported-features ClusterNetworkPolicyNamedPorts -organization tortie -project tortie -url https://github.com/tortie-net/tortie \
    -version "${VERSION:-$(awk -F'"' '/^version/ {print $2; exit}' ../Cargo.toml)}" -contact none -additional-info kube-lab/run-policyapi.sh \
    -report-output "$LAB/log/policyapi.yaml" >"$LAB/log/policyapi.log" 2>&1 && code=0 || code=$?
for result in PASS SKIP FAIL; do echo "$result $(grep -c "^    --- $result" "$LAB/log/policyapi.log" || true)"; done
grep -E '^ *--- FAIL' "$LAB/log/policyapi.log" || true
echo "not asked for SCTP: $(grep -c 'NOT ASKED' "$LAB/log/policyapi.log" || true)"
[ -z "$reports" ] || cp "$LAB/log/policyapi.yaml" "$reports/"
exit "$code"
