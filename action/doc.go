// Package action is the gate for CI systems: action.yml for GitHub, gitlab-ci.yml
// for GitLab, and verify.sh, which both run. There is no Go in it but the tests,
// which read the YAML as the two systems do, and run its steps in a shell as their
// runners would.
package action
