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
for what in ${CLUSTER//,/ }; do [[ " etcd vxlan dual subnets helm " == *" $what "* ]] || die "CLUSTER: found $what, expected etcd, vxlan, dual, subnets, helm"; done
! { is etcd && is dual; } || die "CLUSTER: no manifest here has etcd and dual"
if is helm; then ./build-helm.sh; ./check-chart.sh; fi
began=$(date +%s)
mkdir -p "$LAB"; echo "$CLUSTER" >"$LAB/cluster"
./start-fabric.sh
./start-kube.sh
for number in $(seq "$count"); do ./start-node.sh "n$number"; done
manifest=tortie values=()
if is dual; then manifest=tortie-dual values=(--values ../deploy/helm/dual.yaml); fi
kinds=(-f "$BIN/crds") # ClusterNetworkPolicy, if build-conformance.sh has run
[ -d "$BIN/crds" ] || kinds=()
if is etcd; then
    manifest=tortie-etcd values=(--values ../deploy/helm/etcd.yaml --set etcd.endpoints="$CALICO_ETCD" --skip-crds) kinds=()
    kubectl -n kube-system create secret generic calico-etcd-secrets --from-file "etcd-ca=$PKI/calico-etcd-ca.crt" \
        --from-file "etcd-cert=$PKI/calico-etcd-client.crt" --from-file "etcd-key=$PKI/calico-etcd-client.key" >/dev/null
elif ! is helm; then
    kinds+=(-f ../deploy/crds.yaml)
fi
if [ ${#kinds[@]} != 0 ]; then
    kubectl apply --server-side "${kinds[@]}" >/dev/null
    kubectl wait --for condition=Established --timeout 60s crd --all >/dev/null
fi
if is helm; then
    if is vxlan; then values+=(--set ipv4pool.vxlan=Always); if is dual; then values+=(--set ipv6pool.vxlan=Always); fi; fi
    helm install tortie ../deploy/helm/tortie --namespace kube-system "${values[@]}" --wait --timeout 120s
else # edited as users do it
    edits=(-e "s|https://etcd.example:2379|$CALICO_ETCD|")
    if is vxlan; then edits+=(-e 's|\(POOL_VXLAN, value: \)CrossSubnet|\1Always|'); fi
    sed "${edits[@]}" ../deploy/$manifest.yaml | kubectl apply -f -
fi
kubectl -n kube-system rollout status daemonset/tortie-node --timeout 120s
kubectl wait --for condition=Ready --timeout 60s node --all
echo "a cluster of $count nodes after $(($(date +%s) - began)) s; ./kubectl.sh asks it, ./stop-all.sh ends it"
