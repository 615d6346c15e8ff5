#!/usr/bin/env bash
# The demo's shop in the lab's cluster: namespaces and pods by kubectl, Calico's policies by `tortie apply`; then who reaches
# the database and the window. TORTIE names the binary.
set -euo pipefail
cd "$(dirname "$0")"
export LAB_FABRIC=1
. ./lib.sh
shop=../examples/shop
kubectl apply -f $shop/02-namespaces.yaml >/dev/null
for namespace in shop batch guests; do wait_for 20 "service account" kubectl -n $namespace get serviceaccount default; done
kubectl apply -f shop.yaml >/dev/null
for file in $shop/03-* $shop/[1-9]*; do
    calicoctl apply -f "$file" >/dev/null
done
for namespace in shop batch guests; do kubectl -n $namespace wait --for condition=Ready --timeout 60s pod --all >/dev/null; done
kubectl get pods -A -o wide | grep -E '^(NAMESPACE|shop|batch|guests) ' | awk '{print "  " $1 "/" $2, $7, $8}' | column -t
address() { kubectl -n "$1" get pod "$2" -o jsonpath='{.status.podIP}'; }
ask() { # ask FROM TO PORT WANTED
    local from=(${1/\// }) to=(${2/\// }) got=open
    kubectl -n "${from[0]}" exec "${from[1]}" -- /agnhost connect --timeout=1s "$(address "${to[@]}"):$3" >/dev/null 2>&1 || got=blocked
    printf '  %-16s -> %-8s tcp/%-5s %s\n' "$1" "$2" "$3" "$got"
    [ "$got" = "$4" ] || die "$1 -> $2: $got, should be $4"
}
ask shop/web shop/db 5432 blocked
ask shop/api shop/db 5432 open
ask batch/report shop/db 5432 open
ask guests/intruder shop/db 5432 blocked
ask guests/customer shop/web 80 open
