package inspect

import (
	"fmt"

	"ledgerd/bundle"
)

// Trust reads trust files, which are trusted together. An error is that one of them
// is in no form, or that they do not go together.
func Trust(names []string, files [][]byte) (*bundle.Trust, error) {
	parsed := make([]*bundle.Trust, 0, len(files))
	for i, b := range files {
		t, err := bundle.ParseTrust(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", names[i], err)
		}
		parsed = append(parsed, t)
	}
	return bundle.JoinTrust(parsed...)
}
