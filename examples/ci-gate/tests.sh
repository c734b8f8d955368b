#!/bin/sh
# The tool run_tests: runs the tests of one commit, in a clone of its own, and ends as
# they end. It is the owners': no commit has a say in it.
#
#   tests.sh REPOSITORY COMMIT
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
git clone --quiet --no-checkout "$1" "$dir/clone"
cd "$dir/clone"
git checkout --quiet --detach "$2"
test "$(git rev-parse HEAD)" = "$2" # the whole digest, and no name that may move
# What runs from here on is the agent's code. Put a container around it, or another user.
sh ./test.sh
