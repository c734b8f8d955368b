#!/bin/sh
# A coding agent, as far as a ledgerd daemon sees one: it opens a run about a commit,
# has the daemon run its tests, and claims that they passed. What it thinks is left out.
#
#   agent.sh tests COMMIT [OTHER]   in the run about COMMIT, has its tests run, or those of OTHER
#   agent.sh claim COMMIT           claims that the tests of COMMIT passed, and closes the run
#   agent.sh run COMMIT             prints the ID of the run about COMMIT
set -eu
what=$1 commit=$2 tested=${3:-$2}
server=${SERVER:-http://127.0.0.1:8420}
token=$(cat coder.token)

ask() { # METHOD PATH BODY
  curl -sS --fail-with-body -X "$1" "$server/v1/runs/$commit$2" -H "Authorization: Bearer $token" -H 'Content-Type: application/json' -d "$3" && echo
}

# The key of the run is the commit: each call goes on where the one before it was.
opened=$(ask PUT '' '{"task": "change", "subject": "'"$commit"'", "input": {"commit": "'"$commit"'"}}')
case $what in
  tests) ask POST "/steps/tests-$tested/run" '{"tool": "run_tests", "input": {"commit": "'"$tested"'"}}' ;;
  claim)
    ask POST /claims '{"text": "The tests of '"$commit"' passed."}'
    ask POST /close '{}' || ask POST /close '{"end": "failed", "reason": "claim_unsupported"}'
    ;;
  run) echo "$opened" | grep -o '"run":"run_[0-9a-f-]*"' | cut -d '"' -f 4 ;;
esac
