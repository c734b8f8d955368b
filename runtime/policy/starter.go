package policy

import (
	"embed"
	"io/fs"
)

//go:embed starter
var starter embed.FS

// Starter returns policies to begin with, as files: a support agent's, with a
// limit that a human is asked about.
func Starter() fs.FS {
	sub, err := fs.Sub(starter, "starter")
	if err != nil {
		panic(err) // the directory is embedded above
	}
	return sub
}
