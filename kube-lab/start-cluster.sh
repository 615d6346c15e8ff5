#!/usr/bin/env bash
# start-cluster.sh [NODES]: a cluster of that many nodes (2) with Tortie as its network, installed by the manifest as users do. Needs build-kube.sh,
# build-image.sh and $BIN/tortie.tar (packaging/image). It stays up until stop-all.sh; kubectl.sh asks it. SUBNETS=2: the nodes on two subnets.
set -euo pipefail
cd "$(dirname "$0")"
export LAB_FABRIC=1
. ./lib.sh
count=${1:-2}
export IMAGES="$BIN/pause.tar $BIN/agnhost.tar $BIN/tortie.tar"
[ ! -e /run/netns/kl-fabric ] || die "a lab is up already: ./stop-all.sh ends it"
began=$(date +%s)
./start-fabric.sh
./start-kube.sh
for number in $(seq "$count"); do ./start-node.sh "n$number"; done
kubectl apply --server-side -f ../deploy/crds.yaml >/dev/null
[ ! -d "$BIN/crds" ] || kubectl apply --server-side -f "$BIN/crds" >/dev/null # ClusterNetworkPolicy, if build-conformance.sh has run
kubectl wait --for condition=Established --timeout 60s crd --all >/dev/null
kubectl apply -f ../deploy/tortie.yaml
kubectl -n kube-system rollout status daemonset/tortie-node --timeout 120s
kubectl wait --for condition=Ready --timeout 60s node --all
echo "a cluster of $count nodes after $(($(date +%s) - began)) s; ./kubectl.sh asks it, ./stop-all.sh ends it"
