#!/usr/bin/env bash
# Builds verify and the gate from the checkout that this file lies in, and runs
# the gate: go doc ./action/gate has the variables that it reads. Nothing that
# comes from a workflow, a bundle or a log is read by this shell.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
export GATE_OUT=${GATE_OUT:-${RUNNER_TEMP:-$PWD}/ledgerd-gate}

# GATE_BIN is a directory in which both were built before.
if [ -z "${GATE_BIN:-}" ]; then
  GATE_BIN=$(mktemp -d)
  trap 'rm -rf -- "$GATE_BIN"' EXIT
  # The module that is built is this checkout's, whatever the workspace says.
  (cd -- "$here/.." && GOWORK=off GOFLAGS=-mod=readonly go build -trimpath -o "$GATE_BIN/" ./cmd/verify ./action/gate)
fi
export GATE_VERIFY=$GATE_BIN/verify

# Without a subject it is the commit that this pipeline is about: of a pull or
# merge request the last one of its branch, and not what the CI system made of it.
if [ -z "${GATE_SUBJECT:-}" ]; then
  GATE_SUBJECT=${GATE_HEAD:-${CI_MERGE_REQUEST_SOURCE_BRANCH_SHA:-${GITHUB_SHA:-${CI_COMMIT_SHA:-}}}}
fi
export GATE_SUBJECT

"$GATE_BIN/gate"
