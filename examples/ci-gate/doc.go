// Package cigate is a repository that merges no commit of an agent's unless there
// is evidence, about that commit, that its tests passed. README.md tells the story;
// there is no Go in it but the test that runs the page as it stands.
package cigate
