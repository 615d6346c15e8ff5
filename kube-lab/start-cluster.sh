#!/usr/bin/env bash
# start-cluster.sh [NODES]: a cluster of that many nodes (2) with Tortie as its network, installed by the manifest as users do. Needs build-kube.sh,
# build-image.sh and $BIN/tortie.tar (packaging/image). It stays up until stop-all.sh; kubectl.sh asks it.
# CLUSTER says what is different from the plain one (README.md).
set -euo pipefail
cd "$(dirname "$0")"
export LAB_FABRIC=1 CLUSTER=${CLUSTER-}
. ./lib.sh
count=${1:-2}
export IMAGES="$BIN/pause.tar $BIN/agnhost.tar $BIN/tortie.tar"
[ ! -e /run/netns/kl-fabric ] || die "a lab is up already: ./stop-all.sh ends it"
for what in ${CLUSTER//,/ }; do [[ " etcd vxlan dual subnets " == *" $what "* ]] || die "CLUSTER: found $what, expected etcd, vxlan, dual, subnets"; done
! { is etcd && is dual; } || die "CLUSTER: no manifest here has etcd and dual"
began=$(date +%s)
mkdir -p "$LAB"; echo "$CLUSTER" >"$LAB/cluster"
./start-fabric.sh
./start-kube.sh
for number in $(seq "$count"); do ./start-node.sh "n$number"; done
manifest=tortie
if is dual; then manifest=tortie-dual; fi
if is etcd; then
    manifest=tortie-etcd
    kubectl -n kube-system create secret generic calico-etcd-secrets --from-file "etcd-ca=$PKI/calico-etcd-ca.crt" \
        --from-file "etcd-cert=$PKI/calico-etcd-client.crt" --from-file "etcd-key=$PKI/calico-etcd-client.key" >/dev/null
else
    kubectl apply --server-side -f ../deploy/crds.yaml >/dev/null
    [ ! -d "$BIN/crds" ] || kubectl apply --server-side -f "$BIN/crds" >/dev/null # ClusterNetworkPolicy, if build-conformance.sh has run
    kubectl wait --for condition=Established --timeout 60s crd --all >/dev/null
fi
# Edited as users do it.
edits=(-e "s|https://etcd.example:2379|$CALICO_ETCD|")
if is vxlan; then edits+=(-e 's|\(POOL_VXLAN, value: \)CrossSubnet|\1Always|'); fi
sed "${edits[@]}" ../deploy/$manifest.yaml | kubectl apply -f -
kubectl -n kube-system rollout status daemonset/tortie-node --timeout 120s
kubectl wait --for condition=Ready --timeout 60s node --all
echo "a cluster of $count nodes after $(($(date +%s) - began)) s; ./kubectl.sh asks it, ./stop-all.sh ends it"
