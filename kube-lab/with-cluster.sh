#!/usr/bin/env bash
# with-cluster.sh COMMAND...: runs a command beside a new cluster, and ends the cluster whatever came of it (KEEP=1: leaves it up).
# SUITES=1: before it the public suites, whose reports go to $LAB/log.
set -euo pipefail
here=$(dirname "$0")
export LAB_FABRIC=1
[ -z "${SUITES-}" ] || "$here/build-conformance.sh"
[ "${KEEP-}" = 1 ] || trap '"$here/stop-all.sh"' EXIT
"$here/start-cluster.sh"
if [ -n "${SUITES-}" ]; then
    "$here/run-netpol.sh"
    "$here/run-policyapi.sh"
fi
"$@"
