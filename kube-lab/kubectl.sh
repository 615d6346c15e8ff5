#!/usr/bin/env bash
# kubectl of the lab's cluster, as its administrator.
set -euo pipefail
cd "$(dirname "$0")"
export LAB_FABRIC=1
. ./lib.sh
kubectl "$@"
