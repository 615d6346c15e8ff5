#!/usr/bin/env bash
# Helm on the lab's cluster, as its administrator. Names of files are relative to this folder.
set -euo pipefail
cd "$(dirname "$0")"
export LAB_FABRIC=1
. ./lib.sh
helm "$@"
