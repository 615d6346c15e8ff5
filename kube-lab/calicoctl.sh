#!/usr/bin/env bash
# Tortie's command on the datastore of the lab's cluster, the Kubernetes API or etcd. TORTIE names the binary.
set -euo pipefail
cd "$(dirname "$0")"
export LAB_FABRIC=1
. ./lib.sh
calicoctl "$@"
